"""What domains promise by MTA-STS (RFC 8461 3, 5): from memory, the cluster's table, or their policy hosts.

A policy that is kept and has not expired counts until another one was fetched, whatever becomes of DNS and the web
in the meantime. Where the table does not answer nothing is sent: nobody can say then what was promised.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from posthorn_mail_auth.mta_sts import policy_id
from posthorn_model.errors import PosthornError
from posthorn_model.mta_sts import StsPolicy
from posthorn_smtp_out.tls.faults import Fault
from posthorn_smtp_out.tls.policy_host import NoPolicy, PolicyHosts
from posthorn_storage.sts_policies import StoredPolicy

REMEMBERED: Final = 60.0
"""Seconds for which what was found is not looked for again."""
FAILED: Final = 300.0
"""The same where a policy could not be fetched (RFC 8461 3.3)."""
MOST: Final = 10_000
"""Domains that are remembered."""
REFRESH: Final = 60.0
"""Seconds between looks for policies to be fetched again."""
BATCH: Final = 20


@dataclass(frozen=True, slots=True)
class Promise:
    """The policy that holds for a domain; `fault` tells why there is none, or no newer one."""

    policy: StsPolicy | None = None
    fault: Fault | None = None


class Texts(Protocol):
    """Asks for TXT records: Resolver."""

    async def texts(self, name: str) -> Sequence[bytes]: ...


class Kept(Protocol):
    """Where policies are kept: StsPolicies of the storage."""

    async def live(self, domain: str) -> StoredPolicy | None: ...

    async def put(self, domain: str, found: StoredPolicy) -> None: ...

    async def claim_stale(self, limit: int) -> Sequence[tuple[str, str]]: ...

    async def forget(self, limit: int) -> int: ...


class Promises:
    """One for a process."""

    def __init__(self, kept: Kept, names: Texts, hosts: PolicyHosts, now: Callable[[], float] = time.monotonic) -> None:
        self._kept = kept
        self._names = names
        self._hosts = hosts
        self._now = now
        self._known: OrderedDict[str, tuple[float, Promise]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Promise]] = {}

    async def of(self, domain: str) -> Promise:
        """What a domain promises now. Raises Unavailable, Overloaded."""
        known = self._known.get(domain)
        if known is not None and known[0] > self._now():
            return known[1]
        task = self._asked.get(domain)
        if task is None:
            task = asyncio.create_task(self._look(domain), name="MTA-STS policy")
            self._asked[domain] = task
            task.add_done_callback(lambda _: self._asked.pop(domain, None))
        return await asyncio.shield(task)

    async def refresh(self) -> int:
        """Fetch policies that are getting old, and forget those that have expired; returns how many were fetched."""
        fetched = 0
        for domain, identity in await self._kept.claim_stale(BATCH):
            newest = policy_id(await self._names.texts(f"_mta-sts.{domain}")) or identity
            try:
                await self._fetch(domain, newest)
                fetched += 1
            except NoPolicy:
                continue  # it holds until it expires, and is tried again before
        await self._kept.forget(BATCH)
        return fetched

    async def keep(self) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(REFRESH)
            try:
                await self.refresh()
            except PosthornError:  # the database is away
                continue

    async def _look(self, domain: str) -> Promise:
        stored = await self._kept.live(domain)
        policy = stored.policy if stored else None
        newest = policy_id(await self._names.texts(f"_mta-sts.{domain}"))
        if newest is None or (stored is not None and stored.id == newest):
            return self._remember(domain, Promise(policy), REMEMBERED)
        try:
            return self._remember(domain, Promise(await self._fetch(domain, newest)), REMEMBERED)
        except NoPolicy as error:
            return self._remember(domain, Promise(policy, error.fault), FAILED)

    async def _fetch(self, domain: str, identity: str) -> StsPolicy:
        policy = await self._hosts.fetch(domain)
        await self._kept.put(domain, StoredPolicy(identity, policy))
        return policy

    def _remember(self, domain: str, promise: Promise, seconds: float) -> Promise:
        self._known[domain] = self._now() + seconds, promise
        self._known.move_to_end(domain)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return promise
