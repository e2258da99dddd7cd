"""Against guessing passwords: failures are counted for the whole cluster, by address and by account.

Once a limit is reached the answer no longer says whether a password is right: what was guessed beyond the limit, also
by many connections at once, is of no use. Counts are in the lookup store; while it does not answer nobody is held up.
It verifies no password.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Mapping

from posthorn_model.errors import TooManyFailures, Unavailable
from posthorn_model.lookup import LookupStore, Take, lookup_key
from posthorn_model.ports import Clock
from posthorn_storage.settings import LoginLimits

KNOWN_SECONDS = 30 * 86_400.0
"""An address that logged in to an account is known for so long."""
MAX_BLOCKED = 10_000
"""Addresses that a process remembers to be over their limit, so that it need not verify anything for them."""
IPV6_PREFIX = 64
"""What one customer usually has."""


class LoginThrottle:
    """See the module. `login` is the account's address in its stored form, or whatever was tried instead.

    `remote` is the client's address, or "" when it has none. While the lookup store is unavailable nothing is refused
    but what this process remembers.
    """

    def __init__(self, lookup: LookupStore, limits: LoginLimits, clock: Clock) -> None:
        self._lookup = lookup
        self._limits = limits
        self._clock = clock
        self._exempt = tuple(ipaddress.ip_network(network) for network in limits.exempt)
        self._blocked: OrderedDict[str, float] = OrderedDict()

    def admit(self, remote: str) -> None:
        """Refuse before anything is verified, when this process knows the address to be over its limit.

        Raises TooManyFailures.
        """
        source = self._source(remote)
        left = self._blocked.get(source, 0.0) - self._clock.monotonic() if source else 0.0
        if left > 0:
            raise TooManyFailures(retry_after=left, remote=remote)

    async def failed(self, login: str, remote: str) -> None:
        """Count a failure. Raises TooManyFailures when it was one too many."""
        source = self._source(remote)
        try:
            wanted = self._wanted(login, source, cost=1)
            if "address" in wanted and await self._is_known(login, source):
                wanted.pop("account", None)
            refused = await self._refused(wanted)
        except Unavailable:
            return
        self._refuse(refused, source, login)

    async def succeeded(self, login: str, remote: str) -> None:
        """Remember where an account is used from. Raises TooManyFailures when no more answers are given."""
        source = self._source(remote)
        try:
            wanted = self._wanted(login, source, cost=0)
            refused = await self._refused(wanted)
            if refused.keys() == {"account"} and "address" in wanted and await self._is_known(login, source):
                refused = {}
            if not refused and source:
                await self._lookup.put({_known(login, source): b""}, KNOWN_SECONDS)
        except Unavailable:
            return
        self._refuse(refused, source, login)

    def _wanted(self, login: str, source: str, *, cost: int) -> dict[str, Take]:
        rates = {"address": (source, self._limits.per_address if source else None)}
        rates["account"] = (login, self._limits.per_account)
        return {
            kind: Take(lookup_key("login", kind, name), rate.limit, rate.period, cost)
            for kind, (name, rate) in rates.items()
            if rate is not None
        }

    async def _refused(self, wanted: Mapping[str, Take]) -> dict[str, float]:
        """Which limits refuse, and for how many seconds."""
        answers = await self._lookup.take(list(wanted.values()))
        found = zip(wanted, answers, strict=True)
        return {kind: answer.retry_after for kind, answer in found if not answer.allowed}

    async def _is_known(self, login: str, source: str) -> bool:
        return bool(await self._lookup.get([_known(login, source)]))

    def _refuse(self, refused: Mapping[str, float], source: str, login: str) -> None:
        if "address" in refused:
            self._block(source, refused["address"])
        if refused:
            raise TooManyFailures(retry_after=max(refused.values()), remote=source, login=login[:100])

    def _block(self, source: str, seconds: float) -> None:
        self._blocked[source] = self._clock.monotonic() + seconds
        self._blocked.move_to_end(source)
        if len(self._blocked) > MAX_BLOCKED:
            self._blocked.popitem(last=False)

    def _source(self, remote: str) -> str:
        """What failures are counted under; "" for what is no address, or exempt."""
        try:
            address = ipaddress.ip_address(remote.partition("%")[0])
        except ValueError:
            return ""
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if any(address in network for network in self._exempt):
            return ""
        if address.version == 4:
            return str(address)
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False).network_address)


def _known(login: str, source: str) -> str:
    return lookup_key("login", "known", login, source)
