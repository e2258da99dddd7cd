"""The connection pool and the unit of work: one unit of work is one transaction, with time limits everywhere.

It translates every failure of driver and network into `Unavailable` or `Overloaded`; constraint violations pass as
asyncpg raises them, for the store that knows what they mean. It does no retries of its own but in `run`, which repeats
work that PostgreSQL rolled back as a whole (deadlock, serialization failure), never work whose commit is uncertain.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import asyncpg

from posthorn_model.errors import Overloaded, Unavailable

Connection: TypeAlias = Any
"""An asyncpg connection (or its pool proxy) inside a unit of work."""
Row: TypeAlias = Any
"""An asyncpg.Record."""
Isolation: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]
T = TypeVar("T")

ROLLED_BACK = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.InvalidCachedStatementError)
"""Errors after which PostgreSQL has certainly undone the whole transaction, and the same work may pass next time."""
_BUSY = (asyncpg.InsufficientResourcesError, asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError)
_DOWN = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
_REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """Sizes and time limits (seconds) of the pool and of what runs in it."""

    pool_size: int = 20
    acquire: float = 5.0
    """How long a unit of work may wait for a connection before it is refused with Overloaded."""
    waiting: int = 2000
    """How many units of work may wait for a connection at once; the next is refused with Overloaded."""
    connect: float = 5.0
    statement: float = 30.0
    lock: float = 10.0
    idle: float = 30.0
    """How long a transaction may stay open without a statement; the server then ends the session."""
    attempts: int = 5
    """How often `run` tries work that deadlocks or fails to serialize."""


@contextmanager
def translated(step: str) -> Generator[None]:
    """Turn failures of the driver, the network and the server's capacity into Overloaded or Unavailable.

    `step` names the work for the log. Constraint violations and wrong statements are not touched.
    """
    try:
        yield
    except (*_BUSY, *ROLLED_BACK) as error:
        raise Overloaded(step=step, cause=repr(error)) from error
    except _DOWN as error:
        raise Unavailable(step=step, cause=repr(error)) from error


class Database:
    """A pool of connections to one PostgreSQL. Open it with `Database.open`; hand it to the stores."""

    def __init__(self, pool: Any, limits: DatabaseLimits) -> None:
        self._pool = pool
        self._limits = limits
        self._waiting = 0

    @classmethod
    async def open(cls, dsn: str, limits: DatabaseLimits | None = None) -> "Database":
        """Connect; raises Unavailable when the server does not answer or does not let us in."""
        limits = limits or DatabaseLimits()
        try:
            with translated("connect"):
                pool = await asyncpg.create_pool(
                    dsn,
                    min_size=1,
                    max_size=limits.pool_size,
                    timeout=limits.connect,
                    command_timeout=limits.statement + 5,
                    reset=_nothing_to_reset,
                    server_settings=_server_settings(limits),
                )
        except _REFUSED as error:
            raise Unavailable(step="connect", cause=repr(error)) from error
        return cls(pool, limits)

    async def close(self) -> None:
        """Wait for what runs (at most five seconds), then close every connection."""
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection for single statements, each its own transaction. Raises Overloaded, Unavailable."""
        connection = await self._acquire()
        try:
            with translated("statement"):
                yield connection
        finally:
            with translated("release"):
                await self._pool.release(connection)

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "read_committed", read_only: bool = False
    ) -> AsyncGenerator[Connection]:
        """One unit of work: commits (durably) at the end of the block, rolls back when it raises or is cancelled.

        Raises Overloaded, Unavailable. After Unavailable it is not known whether a commit that was under way happened.
        """
        async with self.connection() as connection, connection.transaction(isolation=isolation, readonly=read_only):
            yield connection

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, isolation: Isolation = "read_committed") -> T:
        """Run `work` as one transaction, again from its beginning when PostgreSQL rolled it back by itself.

        `work` must have no effect outside the database. Raises Overloaded (also when every attempt was rolled back),
        Unavailable, and whatever `work` raises.
        """
        for attempt in range(1, self._limits.attempts):
            try:
                async with self.transaction(isolation=isolation) as connection:
                    return await work(connection)
            except Overloaded as error:
                if not isinstance(error.__cause__, ROLLED_BACK):
                    raise
            await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311  jitter, not a secret
        async with self.transaction(isolation=isolation) as connection:
            return await work(connection)

    async def fetch(self, query: str, *arguments: Any) -> list[Row]:
        """Run one statement in its own transaction and return its rows."""
        async with self.connection() as connection:
            rows: list[Row] = await connection.fetch(query, *arguments)
            return rows

    async def fetchrow(self, query: str, *arguments: Any) -> Row | None:
        """Run one statement in its own transaction and return its first row."""
        async with self.connection() as connection:
            return await connection.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        """Run one statement in its own transaction and return the first column of its first row."""
        async with self.connection() as connection:
            return await connection.fetchval(query, *arguments)

    async def execute(self, query: str, *arguments: Any) -> int:
        """Run one statement in its own transaction and return how many rows it touched."""
        async with self.connection() as connection:
            return affected(await connection.execute(query, *arguments))

    async def executemany(self, query: str, arguments: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row of arguments, in one transaction and one round trip."""
        async with self.connection() as connection:
            await connection.executemany(query, arguments)

    async def probe(self) -> str:
        """Prove that the database answers and accepts writes; returns a text for people. Raises Unavailable."""
        row = await self.fetchrow("SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby")
        if row is None or row["standby"]:
            raise Unavailable("the database is read-only", step="probe")
        return f"PostgreSQL {row['version']}"

    async def _acquire(self) -> Connection:
        if self._waiting >= self._limits.waiting:
            raise Overloaded(step="acquire", waiting=self._waiting)
        self._waiting += 1
        try:
            with translated("acquire"):
                return await self._pool.acquire(timeout=self._limits.acquire)
        except Unavailable as error:
            exhausted = self._pool.get_size() >= self._limits.pool_size and self._pool.get_idle_size() == 0
            if exhausted and isinstance(error.__cause__, TimeoutError):
                raise Overloaded(step="acquire", waiting=self._waiting) from error
            raise
        except _REFUSED as error:
            raise Unavailable(step="acquire", cause=repr(error)) from error
        finally:
            self._waiting -= 1


async def _nothing_to_reset(_connection: Connection) -> None:
    """What asyncpg would send before a connection is used again, and would wait for: a round trip for nothing.

    No statement here leaves anything in its session: settings and advisory locks are those of a transaction, and a
    transaction that is still open asyncpg has rolled back by now.
    """


def affected(tag: str) -> int:
    """Return the row count of a command tag such as "UPDATE 3"."""
    last = tag.rsplit(" ", 1)[-1]
    return int(last) if last.isdigit() else 0


def _server_settings(limits: DatabaseLimits) -> dict[str, str]:
    return {
        "application_name": "posthorn",
        "synchronous_commit": "on",  # design law 2
        "statement_timeout": f"{int(limits.statement * 1000)}",
        "lock_timeout": f"{int(limits.lock * 1000)}",
        "idle_in_transaction_session_timeout": f"{int(limits.idle * 1000)}",
        "timezone": "UTC",
        "jit": "off",
    }
