"""Against guessing passwords: failures are counted for the whole cluster, by address and by account, and slowed.

An account that was logged in to from an address lately is known there, and such a pair is held to a limit of its own:
neither guesses of its password elsewhere nor the failures of its neighbours lock its owner out. Once a limit is reached
the answer no longer says whether a password is right: what was guessed beyond it, also by many connections at once, is
of no use. An address that fails too often is banned: no node lets it in any more (posthorn_storage.bans). All counts
are in the lookup store; while that does not answer nobody is held up. It verifies no password.
"""

import asyncio
import contextlib
import ipaddress
from collections import OrderedDict
from collections.abc import Mapping

from posthorn_model.errors import TooMany, TooManyFailures, Unavailable
from posthorn_model.lookup import LookupStore, Take, lookup_key
from posthorn_model.ports import Clock
from posthorn_storage.bans import BanStore
from posthorn_storage.settings import LoginLimits, Rate

KNOWN_SECONDS = 30 * 86_400.0
"""An account is known at an address for so long after a login."""
MAX_BLOCKED = 10_000
"""Addresses that a process remembers to be over their limit, so that it need not verify anything for them."""
MAX_DOUBLINGS = 4
SLOW_SECONDS = 900.0
"""For so long the failures of an address are remembered to slow the next ones."""
IPV6_PREFIX = 64
"""What one customer usually has."""


class LoginThrottle:
    """See the module. `login` is the account's address in its stored form, or whatever was tried instead.

    `remote` is the client's address, or "" when it has none. All methods raise TooManyFailures.
    """

    def __init__(self, lookup: LookupStore, bans: BanStore, limits: LoginLimits, clock: Clock) -> None:
        self._lookup = lookup
        self._bans = bans
        self._clock = clock
        self._blocked: OrderedDict[str, float] = OrderedDict()
        self.become(limits)

    def become(self, limits: LoginLimits) -> None:
        """These limits from now on; who is blocked already stays so."""
        self._limits = limits
        self._exempt = tuple(ipaddress.ip_network(network) for network in limits.exempt)
        self._never_banned = tuple(ipaddress.ip_network(network) for network in limits.never_banned)

    async def admit(self, login: str, remote: str) -> None:
        """Refuse before anything is verified, when this process remembers the address to be over its limit."""
        source = _source(remote)
        left = self._blocked.get(source, 0.0) - self._clock.monotonic()
        if left <= 0:
            return
        try:
            if await self._is_known(login, source):
                return
        except Unavailable:
            return
        await asyncio.sleep(self._limits.delay)
        raise TooManyFailures(retry_after=left, remote=source, login=login[:100])

    async def failed(self, login: str, remote: str) -> None:
        """Count a failure, be slow about it, and refuse when it was one too many. Many too many are a ban."""
        source = _source(remote)
        try:
            refused = await self._refused(login, remote, cost=1)
            if refused.pop("ban", None) is not None:
                await self._ban(remote, login)
            await self._slow_down(source)
        except Unavailable:
            return
        self._refuse(refused, source, login)

    async def succeeded(self, login: str, remote: str) -> None:
        """Let the account be known at the address, or refuse when no more answers are given."""
        source = _source(remote)
        try:
            refused = await self._refused(login, remote, cost=0)
            refused.pop("ban", None)
            if not refused and source:
                await self._lookup.put({_pair("known", login, source): b""}, KNOWN_SECONDS)
        except Unavailable:
            return
        self._refuse(refused, source, login)

    async def _slow_down(self, source: str) -> None:
        """Wait, the longer the more has failed from there lately, on all nodes together."""
        if self._limits.delay <= 0:
            return
        count = await self._lookup.count(lookup_key("login", "slow", source), SLOW_SECONDS) if source else 1
        await asyncio.sleep(self._limits.delay * 2 ** min(count - 1, MAX_DOUBLINGS))

    async def _ban(self, remote: str, login: str) -> None:
        address = _address(remote)
        if address is None or any(address in network for network in self._never_banned):
            return
        network = ipaddress.ip_network((address, 32 if address.version == 4 else IPV6_PREFIX), strict=False)
        reason = f"too many failed logins, the last as {login[:100]}"
        with contextlib.suppress(TooMany):
            await self._bans.put(network, self._limits.ban_seconds, reason, "automatic")

    async def _refused(self, login: str, remote: str, *, cost: int) -> dict[str, float]:
        """Which limits refuse, and for how many seconds; `cost` 1 counts a failure, 0 only asks."""
        is_known = await self._is_known(login, _source(remote))
        wanted = self._where_known(login, remote) if is_known else self._where_unknown(login, remote)
        takes = [Take(key, rate.limit, rate.period, cost) for key, rate in wanted.values() if rate is not None]
        kinds = [kind for kind, (_, rate) in wanted.items() if rate is not None]
        answers = zip(kinds, await self._lookup.take(takes), strict=True)
        return {kind: answer.retry_after for kind, answer in answers if not answer.allowed}

    def _where_known(self, login: str, remote: str) -> dict[str, tuple[str, Rate | None]]:
        rate = self._limits.per_account or self._limits.per_address
        return {"pair": (_pair("pair", login, _source(remote)), rate)}

    def _where_unknown(self, login: str, remote: str) -> dict[str, tuple[str, Rate | None]]:
        address = _address(remote)
        is_free = address is None or any(address in network for network in self._exempt)
        return {
            "address": (lookup_key("login", "address", _source(remote)), None if is_free else self._limits.per_address),
            "account": (lookup_key("login", "account", login), self._limits.per_account),
            "ban": (lookup_key("login", "ban", _source(remote)), None if is_free else self._limits.ban),
        }

    async def _is_known(self, login: str, source: str) -> bool:
        return bool(source) and bool(await self._lookup.get([_pair("known", login, source)]))

    def _refuse(self, refused: Mapping[str, float], source: str, login: str) -> None:
        if "address" in refused:
            self._blocked[source] = self._clock.monotonic() + refused["address"]
            self._blocked.move_to_end(source)
            if len(self._blocked) > MAX_BLOCKED:
                self._blocked.popitem(last=False)
        if refused:
            raise TooManyFailures(retry_after=max(refused.values()), remote=source, login=login[:100])


def _address(remote: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _source(remote: str) -> str:
    """What is counted under: an IPv4 address, the network of an IPv6 address; "" for what is neither."""
    address = _address(remote)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False).network_address)
    return str(address) if address else ""


def _pair(kind: str, login: str, source: str) -> str:
    return lookup_key("login", kind, login, source)
