"""Migrations: bring a database to this release's schema while older processes go on. Loads Alembic.

One process works under the lease "migrate" (design law 5); others wait, tell whom they wait for, and find nothing left
to do. Each revision is one transaction with its number, or an online one whose steps can be repeated: a process killed
anywhere leaves a database that the next one goes on with. A statement that would wait for a lock makes everybody else
wait behind it, so none waits long: it gives up, lets traffic pass, and tries again.

Nothing here is kept in a session, so a pooler in transaction mode may stand in between. There is no way back: a schema
is only added to, and what is taken away (contract) is taken away when nobody uses it any more.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import asyncpg

from posthorn_model.errors import LeaseLost, Unavailable
from posthorn_model.ids import Epoch
from posthorn_storage.database import DatabaseLimits
from posthorn_storage.database.connect import Hosts
from posthorn_storage.leases import ACQUIRE, RELEASE, RENEW, Fence
from posthorn_storage.migrations.online import OnlineWork
from posthorn_storage.migrations.revisions import Revision, revisions
from posthorn_storage.version import FLOOR, Standing, read_standing

LEASE: Final = "migrate"
TTL: Final = 30.0
LOCK_SECONDS: Final = 2.0
"""How long one try may make others wait behind it."""
TRIES: Final = 60
_CONNECT = DatabaseLimits(connect=10.0, mode="transaction")
_FIRST_LOCK = 0x504F5354484F524E

FIRST = "SELECT pg_try_advisory_xact_lock($1)"
HAS_LEASES = "SELECT to_regclass('lease') IS NOT NULL"
HOLDER = "SELECT owner FROM lease WHERE key = $1 AND until > now()"
VERSIONS = "CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) NOT NULL PRIMARY KEY)"
NUMBER = "SELECT version_num FROM alembic_version"
LEAVE_NUMBER = "DELETE FROM alembic_version"
TAKE_NUMBER = "INSERT INTO alembic_version (version_num) VALUES ($1)"
RAISE_FLOOR = """
INSERT INTO cluster_setting (name, value) VALUES ($1, to_jsonb($2::text))
ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value WHERE cluster_setting.value < EXCLUDED.value
"""
# `schema` is empty for processes from before they told it.
OLDER = """
SELECT node_id, service, hostname, schema FROM process
WHERE state <> 'left' AND seen_at > now() - interval '1 minute' AND schema < $1 ORDER BY node_id, service LIMIT 20
"""

_TRY_AGAIN = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a migration does now; `revision` is the number it is about, empty while it waits for another process."""

    state: Literal["waiting", "running", "blocked", "filling", "done"]
    revision: str = ""
    about: str = ""
    """What the revision does, or who is waited for."""
    rows: int = 0
    """Filled in so far."""


Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Status:
    """How a database stands to this release."""

    standing: Standing
    revisions: Sequence[Revision]
    holder: str | None
    """Who migrates now."""

    @property
    def pending(self) -> Sequence[Revision]:
        """What `migrate` would do."""
        return _after(self.standing.current, self.revisions)


def _silent(_progress: Progress) -> None:
    """Nobody listens."""


async def migrate(
    dsn: str,
    *,
    tell: Tell = _silent,
    steps: Sequence[Revision] | None = None,
    to: str | None = None,
    ttl: float = TTL,
) -> None:
    """Bring the database at `dsn` (postgresql:// URL) to this release's schema, or only to revision `to`. Idempotent.

    `steps` are the revisions, `tell` hears of each step, `ttl` (seconds) is how long a dead process holds others up.
    The home goes before the shards: processes are known there. Raises Unavailable: the database does not answer, locks
    are never free, older processes need what is to go.
    """
    steps = revisions() if steps is None else steps
    if to is not None:
        steps = [step for step in steps if step.number <= to]
    with _translated():
        async with _connected(dsn) as connection, _connected(dsn) as other:
            run = _Run(connection, other, f"{socket.gethostname()}/{os.getpid()}/{os.urandom(3).hex()}", ttl, tell)
            await run.first(steps[0])
            while pending := _after(await _value(connection, NUMBER), steps):
                if not await run.take():
                    continue
                async with run.kept():
                    for step in _after(await _value(connection, NUMBER), steps):
                        await run.step(step)
                tell(Progress("done", pending[-1].number))


async def status(dsn: str) -> Status:
    """How the database at `dsn` stands. Raises Unavailable."""
    with _translated():
        async with _connected(dsn) as connection:
            has_leases = await _value(connection, HAS_LEASES)
            holder = await _value(connection, HOLDER, LEASE) if has_leases else None
            async with connection.transaction():
                standing = await read_standing(connection)
            return Status(standing, revisions(), holder)


def _after(current: str | None, steps: Sequence[Revision]) -> Sequence[Revision]:
    return [step for step in steps if current is None or step.number > current]


class _Run:
    """One process's try to migrate: `connection` works, `other` keeps the lease meanwhile."""

    def __init__(self, connection: Any, other: Any, owner: str, ttl: float, tell: Tell) -> None:
        self._connection = connection
        self._other = other
        self._owner = owner
        self._ttl = ttl
        self._tell = tell
        self._fence = Fence(LEASE, Epoch(0))

    async def first(self, step: Revision) -> None:
        """The first revision makes the table of leases, so a lock of the transaction stands in for one."""
        while not await _value(self._connection, HAS_LEASES):
            async with self._connection.transaction():
                alone = await self._connection.fetchval(FIRST, _FIRST_LOCK)
                if alone and not await self._connection.fetchval(HAS_LEASES):
                    self._tell(Progress("running", step.number, step.about))
                    await self._connection.execute(VERSIONS)
                    await self._apply(step)
                    return
            self._tell(Progress("waiting", about="another process"))
            await asyncio.sleep(0.2)

    async def take(self) -> bool:
        """Try to become the one who migrates."""
        rows = await _rows(self._connection, ACQUIRE, [LEASE], self._owner, self._ttl)
        if rows:
            self._fence = Fence(LEASE, Epoch(rows[0]["epoch"]))
            return True
        self._tell(Progress("waiting", about=await _value(self._connection, HOLDER, LEASE) or "another process"))
        await asyncio.sleep(min(1.0, self._ttl / 10))
        return False

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[None]:
        """Renew the lease meanwhile, and let it go at the end."""
        keeper = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await keeper
            if not self._other.is_closed():
                await _rows(self._other, RELEASE, [LEASE], [self._fence.epoch], self._owner)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._ttl / 3)
            await _rows(self._other, RENEW, [LEASE], [self._fence.epoch], self._owner, self._ttl)

    async def step(self, step: Revision) -> None:
        """Run one revision."""
        if step.contract is not None:
            await self._nobody_needs(step, step.contract)
        self._tell(Progress("running", step.number, step.about))
        if step.online is not None:
            told = OnlineWork(
                self._connection,
                self._fence,
                lambda rows: self._tell(Progress("filling", step.number, step.about, rows)),
            )
            await step.online(told)
        for _ in range(TRIES):
            try:
                async with self._connection.transaction():
                    await self._connection.execute(
                        f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL statement_timeout = 0"
                    )
                    await self._apply_fenced(step)
            except _TRY_AGAIN:
                self._tell(Progress("blocked", step.number, step.about))
                await asyncio.sleep(LOCK_SECONDS / 2)
            else:
                return
        raise Unavailable("the migration never got its locks: a transaction stays open", revision=step.number)

    async def _apply_fenced(self, step: Revision) -> None:
        if not await self._fence.hold(self._connection):
            raise LeaseLost(role=LEASE)
        if await self._connection.fetchval(NUMBER) == step.after:
            await self._apply(step)

    async def _apply(self, step: Revision) -> None:
        for statement in step.statements:
            await self._connection.execute(statement)
        await self._connection.execute(LEAVE_NUMBER)
        await self._connection.execute(TAKE_NUMBER, step.number)
        if step.contract is not None:
            await self._connection.execute(RAISE_FLOOR, FLOOR, step.contract)

    async def _nobody_needs(self, step: Revision, oldest: str) -> None:
        rows = await _rows(self._connection, OLDER, oldest)
        if rows:
            found = ", ".join(f"{row['service']} on node {row['node_id']} ({row['hostname']})" for row in rows)
            raise Unavailable(
                f"revision {step.number} takes away what processes of an older release need; stop them first: {found}",
                revision=step.number,
            )


async def _rows(connection: Any, statement: str, *arguments: object) -> list[Any]:
    """Run one statement as a transaction: behind a pooler, its parts would else go to different servers."""
    async with connection.transaction():
        rows: list[Any] = await connection.fetch(statement, *arguments)
        return rows


async def _value(connection: Any, statement: str, *arguments: object) -> Any:
    rows = await _rows(connection, statement, *arguments)
    return rows[0][0] if rows else None


@asynccontextmanager
async def _connected(dsn: str) -> AsyncGenerator[Any]:
    connection = await Hosts(dsn, _CONNECT, target="read-write").connect(statement_cache_size=0)
    try:
        yield connection
    finally:
        if not connection.is_closed():
            await connection.close(timeout=5)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise Unavailable(step="migrate", cause=repr(error)) from error
    except LeaseLost as error:
        raise Unavailable("another process took over the migration", step="migrate") from error
