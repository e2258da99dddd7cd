"""The unit of work: one unit of work is one transaction, on a connection of its class, with time limits everywhere.

It translates every failure of driver and network into `Unavailable` or `Overloaded`; constraint violations pass as
asyncpg raises them, for the store that knows what they mean. It does no retries of its own but in `run`, which repeats
work that PostgreSQL rolled back as a whole (deadlock, serialization failure), never work whose commit is uncertain.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import asyncpg

from posthorn_model.errors import Overloaded, Unavailable
from posthorn_storage.database.admission import Admission, Load
from posthorn_storage.database.connect import Hosts, Kept, server_settings
from posthorn_storage.database.failures import DEMOTED, REFUSED, ROLLED_BACK, told_as, translated
from posthorn_storage.database.limits import DatabaseLimits, Share
from posthorn_storage.database.pooler import begin
from posthorn_storage.database.undoing import Begun, Connection, Isolation

Row: TypeAlias = Any
"""An asyncpg.Record."""
T = TypeVar("T")


class Connections:
    """Connections to one server, opened when they are needed and kept for a while."""

    def __init__(self, pool: Any, limits: DatabaseLimits) -> None:
        self._pool = pool
        self.limits = limits

    @classmethod
    async def open(
        cls,
        dsn: str,
        limits: DatabaseLimits,
        *,
        first: int = 1,
        target: str = "read-write",
        check: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> "Connections":
        """Open `first` of at most `limits.pool_size` connections; `check` sees each new one first.

        Raises Unavailable when no server answers, lets us in and is the `target` (target_session_attrs of libpq).
        """
        try:
            with translated("connect"):
                pool = await asyncpg.create_pool(
                    dsn,
                    connect=Hosts(dsn, limits, target=target).connect,
                    connection_class=Kept,
                    init=check,
                    init_size=first,
                    min_size=0,
                    max_size=limits.pool_size,
                    command_timeout=limits.statement + 5,
                    statement_cache_size=100 if limits.mode == "session" else 0,
                    reset=_nothing_to_reset,
                    server_settings=server_settings(limits),
                )
        except REFUSED as error:
            raise Unavailable(step="connect", cause=repr(error)) from error
        return cls(pool, limits)

    @property
    def opened(self) -> int:
        """How many are open now."""
        return int(self._pool.get_size())

    @property
    def idle(self) -> int:
        """How many of them nothing uses."""
        return int(self._pool.get_idle_size())

    async def take(self) -> Connection:
        """One that is free, or a new one. Raises Overloaded, Unavailable."""
        try:
            return await self._pool.acquire()
        except REFUSED as error:
            raise Unavailable(step="acquire", cause=repr(error)) from error
        except Exception as error:
            if (told := told_as(error, "acquire")) is not None:
                raise told from error
            raise

    async def give_back(self, connection: Connection) -> None:
        """End what is still open on it. When that fails the connection is gone, and what was committed still is."""
        try:
            if _at_rest(connection):
                # What the pool's own release shields from being cancelled waits for nothing then: it would only cost
                # a task, and whoever waits for the result of the work a turn of the loop more. That is 73 instead of
                # 88 us of processor for a question that is alone, 37 instead of 42 with ten under way.
                connection._con._on_release()
                await connection._holder.release(self.limits.give_back)
            else:
                await self._pool.release(connection, timeout=self.limits.give_back)
        except Exception as error:
            told = told_as(error, "release")
            if told is None:
                raise
            if not isinstance(told, Unavailable):
                raise told from error

    async def renew(self) -> None:
        """Throw all connections away: those in use when they come back, the others before they are used again."""
        await self._pool.expire_connections()

    async def close(self) -> None:
        """Wait for what runs (at most five seconds), then close every connection."""
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except TimeoutError:
            self._pool.terminate()


class Database:
    """One PostgreSQL as one class of work sees it. The stores get it from Pools; tests from `Database.open`."""

    def __init__(self, connections: Connections, admission: Admission, work: str) -> None:
        self._connections = connections
        self._admission = admission
        self._work = work
        self._pooled = connections.limits.mode == "transaction"

    @classmethod
    async def open(cls, dsn: str, limits: DatabaseLimits | None = None) -> "Database":
        """Connect, all connections for one class of work.

        Raises Unavailable when the server does not answer, does not let us in, or takes no writes.
        """
        limits = limits or DatabaseLimits()
        whole = {"all": Share(0, limits.pool_size)}
        connections = await Connections.open(dsn, limits)
        return cls(connections, Admission(limits.pool_size, whole, waiting=limits.waiting), "all")

    async def close(self) -> None:
        """Wait for what runs (at most five seconds), then close every connection, those of other classes too."""
        await self._connections.close()

    def load(self) -> Load:
        """Connections in use, units of work that wait for one, and those refused so far."""
        return self._admission.load(self._work)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for single statements, each its own transaction. Raises Overloaded, Unavailable.

        Through a pooler they are one transaction: outside of one a statement may be parsed by another server than runs
        it.
        """
        return self.transaction() if self._pooled else self._taken()

    def transaction(
        self, *, isolation: Isolation = "read_committed", read_only: bool = False
    ) -> AbstractAsyncContextManager[Connection]:
        """One unit of work: commits (durably) at the end of the block, rolls back when it raises or is cancelled.

        Raises Overloaded, Unavailable. After Unavailable it is not known whether a commit that was under way happened.
        """
        limits, pooled = self._connections.limits, self._pooled

        def begun(connection: Connection) -> AbstractAsyncContextManager[None]:
            if pooled:
                return begin(connection, limits, isolation, read_only=read_only)
            return Begun(connection, limits.give_back, isolation, read_only=read_only)

        return _Unit(self._taken(), begun)

    def _taken(self) -> "_Taken":
        return _Taken(self._connections, self._admission, self._work)

    @property
    def pooled(self) -> bool:
        """Whether a pooler lends the servers, each for one transaction."""
        return self._pooled

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        unit: Callable[[], AbstractAsyncContextManager[Connection]] | None = None,
    ) -> T:
        """Run `work` as one transaction, again from its beginning when PostgreSQL rolled it back by itself.

        `work` must have no effect outside the database; `unit` makes the unit of work where it is not `transaction`.
        Raises Overloaded (also when every attempt was rolled back), Unavailable, and whatever `work` raises.
        """
        unit = unit or self.transaction
        for attempt in range(1, self._connections.limits.attempts):
            try:
                async with unit() as connection:
                    return await work(connection)
            except Overloaded as error:
                if not isinstance(error.__cause__, ROLLED_BACK):
                    raise
            await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311  jitter, not a secret
        async with unit() as connection:
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


class _Taken:
    """A connection while a block has it, and its place. By hand: generators nested as deep cost a question a third."""

    __slots__ = ("_admission", "_connection", "_connections", "_work")

    def __init__(self, connections: Connections, admission: Admission, work: str) -> None:
        self._connections = connections
        self._admission = admission
        self._work = work

    async def __aenter__(self) -> Connection:
        await self._admission.enter(self._work, self._connections.limits.acquire)
        try:
            self._connection = await self._connections.take()
        except BaseException:
            self._admission.leave(self._work)
            raise
        return self._connection

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            if error is not None:
                await self._tell(error)
        finally:
            try:
                await self._connections.give_back(self._connection)
            finally:
                self._admission.leave(self._work)

    async def _tell(self, error: BaseException) -> None:
        """Raise what the block's failure is told as, if that is something else."""
        told = told_as(error, "statement")
        cause = error.__cause__ if told is None else error
        if isinstance(told or error, Unavailable) and isinstance(cause, DEMOTED):
            await self._connections.renew()
        if told is not None:
            raise told from error


class _Unit:
    """A connection while a block has it, and the transaction around the block."""

    __slots__ = ("_begun", "_taken", "_whole")

    def __init__(self, taken: _Taken, begun: Callable[[Connection], AbstractAsyncContextManager[None]]) -> None:
        self._taken = taken
        self._begun = begun

    async def __aenter__(self) -> Connection:
        connection = await self._taken.__aenter__()
        try:
            self._whole = self._begun(connection)
            await self._whole.__aenter__()
        except BaseException as error:
            await self._taken.__aexit__(type(error), error, error.__traceback__)
            raise
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._whole.__aexit__(kind, error, trace)
        except BaseException as failed:
            await self._taken.__aexit__(type(failed), failed, failed.__traceback__)
            raise
        await self._taken.__aexit__(kind, error, trace)


async def _nothing_to_reset(_connection: Connection) -> None:
    """What asyncpg would send before a connection is used again, and would wait for: a round trip for nothing.

    No statement here leaves anything in its session: settings and advisory locks are those of a transaction, and a
    transaction that is still open asyncpg has rolled back by now.
    """


def _at_rest(connection: Connection) -> bool:
    """Whether nothing is open on it or under way, so that giving it back sends nothing."""
    held = connection._con
    return held is not None and not (
        held.is_closed() or held.is_in_transaction() or held._top_xact or held._protocol._is_cancelling()
    )


def lost(connection: Connection) -> bool:
    """Whether it is known that the server, or the way to it, has ended a connection that is in use."""
    held = connection._con
    return held is None or held.is_closed()


def affected(tag: str) -> int:
    """Return the row count of a command tag such as "UPDATE 3"."""
    last = tag.rsplit(" ", 1)[-1]
    return int(last) if last.isdigit() else 0
