"""Reads of an account go to a replica that has replayed all this process knows of it; the primary is the rest.

A replica's no is not final: whatever fails there, also with "not found" or a cancelled statement, is done again on the
primary. Only reads that decide nothing may come here (design law 1: who changes something looks at the primary).
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

import asyncpg

from posthorn_model.errors import PosthornError
from posthorn_model.events import Changed
from posthorn_model.ids import AccountId
from posthorn_storage.database.database import Database
from posthorn_storage.database.limits import DatabaseLimits, Regions, ReplicaLimits
from posthorn_storage.database.positions import Positions, Written
from posthorn_storage.database.replica import Replica, ReplicaState, name_of

# What is flushed: a commit is seen by nobody before it is (design law 2). Standbys get the rest only when it is, too.
WRITTEN: Final = """
SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS position,
       ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int AS timeline,
       (SELECT system_identifier FROM pg_control_system()) AS system
"""
READS: Final = ("replica", "primary", "waited", "behind", "fallback")
"""What is counted: where a read went; whether it waited for a replica, in vain, or found nothing usable there."""
SPACING: Final = 0.01
"""Seconds at least between two looks at the primary, when nobody waits to be told."""
MAX_UNTOLD: Final = 10_000
T = TypeVar("T")
Notify = Callable[[Changed], None]


class Replicas:
    """The read replicas of one primary. Open it with `Replicas.open`."""

    def __init__(self, primary: Database, replicas: Sequence[Replica], limits: ReplicaLimits, regions: Regions) -> None:
        self._primary = primary
        self._replicas = replicas
        self._near = [replica for number, replica in enumerate(replicas) if regions.near(number)]
        self._primary_is_near = regions.primary_is_near
        self._limits = limits
        self._positions = Positions()
        self._written: Written | None = None
        self._counts: Counter[str] = Counter()
        self._untold: deque[tuple[Changed, Notify]] = deque()
        self._waiting: list[asyncio.Future[None]] = []
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls,
        primary: Database,
        dsns: Sequence[str],
        limits: DatabaseLimits,
        reading: ReplicaLimits,
        regions: Regions = Regions(),  # noqa: B008  a value
    ) -> "Replicas":
        """Start to watch the replicas; those that are down now are used when they are up."""
        replicas = [Replica(name_of(dsn), reading) for dsn in dsns]
        for replica, dsn in zip(replicas, dsns, strict=True):
            await replica.open(dsn, limits)
        opened = cls(primary, replicas, reading, regions)
        loop = asyncio.get_running_loop()
        opened._tasks = [
            loop.create_task(opened._watch_primary(), name="watch the primary"),
            *(loop.create_task(opened._watch(replica), name=f"watch {replica.name}") for replica in replicas),
        ]
        return opened

    async def close(self) -> None:
        """Stop watching; changes not yet told of are told without their position."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tell(None)
        for replica in self._replicas:
            await replica.close()

    async def read(self, primary: Database, account: AccountId, work: Callable[[Database], Awaitable[T]]) -> T:
        """Run `work`, which only reads, on a replica or on `primary`. Raises what it raises on the primary."""
        begun = time.monotonic()
        replica = await self._chosen(account)
        if replica is not None and (life := replica.life) is not None:
            replayed = replica.replayed
            try:
                async with replica.reading() as database:
                    result = await work(database)
            except (PosthornError, asyncpg.PostgresError, TimeoutError):
                self._counts["fallback"] += 1
            else:
                self._counts["replica"] += 1
                self._positions.read(account, life, begun, time.monotonic(), replayed)
                return result
        result = await work(primary)
        self._counts["primary"] += 1
        self.seen([account])
        return result

    def changed(self, event: Changed, notify: Notify) -> None:
        """After a commit: `notify` gets the event as soon as its position is known. May not block."""
        self._positions.seen(event.account, time.monotonic())
        self._untold.append((event, notify))
        self._wanted.set()
        if len(self._untold) > MAX_UNTOLD:
            self._tell(None)

    def heard(self, event: Changed) -> None:
        """Another process committed a change."""
        position = self._written.position_in(event.position) if self._written is not None else None
        if position is None:
            self.seen([event.account])
        else:
            self._positions.changed(event.account, position, time.monotonic())

    def seen(self, accounts: Sequence[AccountId]) -> None:
        """These accounts were read on the primary, by something else than `read`."""
        now = time.monotonic()
        for account in accounts:
            self._positions.seen(account, now)
        self._wanted.set()

    def states(self) -> list[ReplicaState]:
        """Each replica at this moment."""
        return [replica.state for replica in self._replicas]

    def counts(self) -> Mapping[str, int]:
        """Reads by the words of READS."""
        return self._counts

    async def _chosen(self, account: AccountId) -> Replica | None:
        """The nearest: a replica in the reader's region; the primary if that is there; any other replica; the primary.

        An account is read from one replica as long as it can be, so that it never waits for another to catch up.
        """
        alive = [replica for replica in self._near if replica.life is not None]
        if not alive and not self._has_primary_near():
            alive = [replica for replica in self._replicas if replica.life is not None]
        written, now = self._written, time.monotonic()
        if not alive or written is None or now - written.begun > self._limits.fresh:
            return None
        replica = alive[account % len(alive)]
        needed = self._positions.needed(account, replica.life, written, now)
        if needed is not None and replica.replayed >= needed:
            return replica
        self._counts["waited"] += 1
        if await self._nearly_there(account, replica, needed):
            return replica
        self._counts["behind"] += 1
        return None

    def _has_primary_near(self) -> bool:
        """Where the primary stands by now, if it is one of those that were replicas; else as the settings say."""
        leading = [replica for replica in self._replicas if replica.leads]
        return any(replica in self._near for replica in leading) if leading else self._primary_is_near

    async def _nearly_there(self, account: AccountId, replica: Replica, needed: int | None) -> bool:
        """Wait for what must be known of the account, and then for the replica, together as long as allowed."""
        end = asyncio.get_running_loop().time() + self._limits.patience
        if needed is None:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            self._wanted.set()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    await turn
            if self._written is not None:
                needed = self._positions.needed(account, replica.life, self._written, time.monotonic())
        return needed is not None and await replica.reached(needed, end)

    async def _look_at_primary(self) -> Written | None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._limits.answer):
                row = await self._primary.fetchrow(WRITTEN)
        except (PosthornError, asyncpg.PostgresError, TimeoutError):
            return None
        if row is None:
            return None
        found = Written(begun, row["system"], row["timeline"], row["position"])
        known = self._written
        if known is None or (found.system, found.timeline) != (known.system, known.timeline):
            self._positions.clear()
            for replica in self._replicas:
                replica.leave_out("the primary is another")
        if known is None or found.begun > known.begun:
            self._written = found
        return found

    async def _watch_primary(self) -> None:
        """Look every so often, soon after something was seen there, and at once when somebody waits to know."""
        while True:
            count = len(self._untold)
            waiting, self._waiting = self._waiting, []
            self._tell(await self._look_at_primary(), count)
            for turn in waiting:
                if not turn.done():
                    turn.set_result(None)
            if not self._waiting:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.interval):
                        await self._wanted.wait()
                await asyncio.sleep(0 if self._untold or self._waiting else SPACING)
            self._wanted.clear()

    async def _watch(self, replica: Replica) -> None:
        while True:
            await replica.look(self._written)
            await asyncio.sleep(self._limits.interval)

    def _tell(self, written: Written | None, count: int | None = None) -> None:
        """Tell of the oldest changes, all of which were committed before the look at the primary began."""
        for _ in range(len(self._untold) if count is None else min(count, len(self._untold))):
            event, notify = self._untold.popleft()
            if written is not None:
                self._positions.changed(event.account, written.position, time.monotonic())
                event = replace(event, position=written.text())
            with suppress(Exception):
                notify(event)
