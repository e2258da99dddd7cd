"""One read replica: how far it has replayed, whether it may be read from, and why not.

It is left out by itself when it does not answer, lags, was promoted, belongs to another cluster or has another history
than the primary; and it comes back by itself.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from posthorn_model.errors import PosthornError
from posthorn_storage.database.admission import Admission
from posthorn_storage.database.database import Connections, Database
from posthorn_storage.database.failures import translated
from posthorn_storage.database.limits import DatabaseLimits, ReplicaLimits, Share
from posthorn_storage.database.positions import Written
from posthorn_storage.database.undoing import Begun, Connection

REPLAYED: Final = "SELECT COALESCE((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0)"

# Only roles of pg_read_all_stats see what the receiver follows; others learn of a new timeline at a restartpoint.
STATE: Final = """
SELECT pg_is_in_recovery() AS standby,
       COALESCE((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0) AS replayed,
       COALESCE(EXTRACT(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0)::float8 AS age,
       (SELECT system_identifier FROM pg_control_system()) AS system,
       greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                (SELECT received_tli FROM pg_stat_wal_receiver),
                CASE WHEN NOT pg_is_in_recovery()
                     THEN ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int END
               ) AS timeline
"""

PAUSE: Final = 0.002
"""Seconds between two looks while somebody waits for the replica."""
GIVE_BACK: Final = 0.5
"""Seconds for the end of a question without an answer; then its connection is closed."""
NO_WAIT: Final = 1.0
"""Seconds in which nobody waits for a replica again that was waited for in vain."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """A replica at this moment. `reason` tells why it is left out; "" while it is read from."""

    name: str
    reason: str
    lag_bytes: int
    lag_seconds: float

    @property
    def used(self) -> bool:
        """Whether it is read from."""
        return not self.reason


class Replica:
    """One server. `life` is a value of its own for each time that it is read from, None while it is left out."""

    def __init__(self, name: str, limits: ReplicaLimits) -> None:
        self.name = name
        self.limits = limits
        self.life: object | None = None
        self.state = ReplicaState(name, "not yet looked at", 0, 0.0)
        self.replayed = 0
        self.leads = False
        """Whether it is the primary by now: it was promoted, and writes go there."""
        self._database: Database | None = None
        self._readers: set[asyncio.Timeout] = set()
        self._looking: asyncio.Task[int] | None = None
        self._no_wait_until = 0.0

    async def open(self, dsn: str, limits: DatabaseLimits) -> None:
        """Prepare connections; nothing is opened yet, so a replica that is down does no harm."""
        size = min(limits.pool_size, self.limits.connections or limits.pool_size)
        bounded = replace(limits, pool_size=size, connect=min(2.0, limits.connect), give_back=GIVE_BACK)
        connections = await Connections.open(dsn, bounded, first=0, target="any", check=self._check)
        self._database = Database(connections, Admission(size, {"reading": Share(0, size)}, waiting=0), "reading")

    @property
    def database(self) -> Database:
        """To read from, when `life` says so."""
        if self._database is None:
            raise RuntimeError("the replica is not open")
        return self._database

    async def close(self) -> None:
        """Let its connections go."""
        self.leave_out("closed")
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._database is not None:
            await self._database.close()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Database]:
        """Read from it in the block, which ends with TimeoutError when the replica is left out meanwhile."""
        async with asyncio.timeout(None) as limit:
            self._readers.add(limit)
            try:
                yield self.database
            finally:
                self._readers.discard(limit)

    async def look(self, written: Written | None) -> None:
        """Judge its state, with a look at the primary that began before. Never raises."""
        # Readers do not wait for what the end of a question without an answer takes.
        late = asyncio.get_running_loop().call_later(self.limits.answer, self.leave_out, "no answer: in time")
        try:
            async with asyncio.timeout(self.limits.answer):
                row = await self.database.fetchrow(STATE)
        except (PosthornError, asyncpg.PostgresError, TimeoutError) as error:
            self.leads = False
            self.leave_out(f"no answer: {getattr(error, 'fields', {}).get('cause') or repr(error)}")
            return
        finally:
            late.cancel()
        if row is None or written is None:
            self.leave_out("the primary is not known")
            return
        self.leads = not row["standby"] and (row["system"], row["timeline"]) == (written.system, written.timeline)
        behind = max(0, written.position - row["replayed"])
        seconds = max(0.0, row["age"]) if behind else 0.0
        reason = self._judged(row, written, seconds)
        if reason:
            self.leave_out(reason, behind, seconds)
            return
        self.replayed = max(self.replayed, row["replayed"])
        self.state = ReplicaState(self.name, "", behind, seconds)
        if self.life is None:
            self.life = object()

    def leave_out(self, reason: str, behind: int = 0, seconds: float = 0.0) -> None:
        """Read no more from it, and let those who do try elsewhere."""
        self.state = ReplicaState(self.name, reason, behind, seconds)
        self.life = None
        self.replayed = 0
        now = asyncio.get_running_loop().time()
        for reader in self._readers:
            if not reader.expired():
                reader.reschedule(now)

    async def reached(self, position: int, end: float) -> bool:
        """Whether it has replayed so much, now or until `end` (of the loop's clock)."""
        if self.replayed >= position:
            return True
        loop = asyncio.get_running_loop()
        life = self.life
        if loop.time() < self._no_wait_until or life is None:
            return False
        try:
            async with asyncio.timeout_at(end):
                while self.life is life:
                    if await self._look_quickly() >= position:
                        return self.life is life
                    await asyncio.sleep(PAUSE)
        except (PosthornError, asyncpg.PostgresError, TimeoutError):
            pass
        self._no_wait_until = loop.time() + NO_WAIT
        return False

    async def _look_quickly(self) -> int:
        """How much it has replayed: one question for all who wait."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._ask(), name=f"how far is {self.name}")
        return await asyncio.shield(self._looking)

    async def _ask(self) -> int:
        life = self.life
        async with asyncio.timeout(self.limits.answer):
            replayed: int = await self.database.fetchval(REPLAYED)
        if self.life is life and life is not None:
            self.replayed = max(self.replayed, replayed)
        return replayed

    async def _check(self, connection: Connection) -> None:
        """A server that was started again may be behind what it had shown: a new connection is not trusted unseen."""
        with translated("connect"):
            async with Begun(connection, GIVE_BACK, "read_committed", read_only=True):
                replayed = await connection.fetchval(REPLAYED)
        if replayed < self.replayed:
            self.leave_out("started again")
            raise ConnectionError(f"{self.name} is behind what it was")

    def _judged(self, row: asyncpg.Record, written: Written, seconds: float) -> str:
        if not row["standby"]:
            return "not a standby"
        if row["system"] != written.system:
            return "of another cluster"
        if row["timeline"] < written.timeline:
            return "on an old timeline"
        if row["replayed"] < self.replayed:
            return "started again"
        return f"{seconds:.1f} s behind" if seconds > self.limits.max_lag else ""


def name_of(dsn: str) -> str:
    """host:port of a DSN, without its secrets."""
    return urlsplit(dsn).netloc.rpartition("@")[2]
