"""Units of work of one caller that follow each other closely: the commit of one begins the next (decision 0054)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from posthorn_model.errors import PosthornError
from posthorn_storage.database.database import Database, lost
from posthorn_storage.database.undoing import Connection

T = TypeVar("T")
Unit = AbstractAsyncContextManager[Connection]
SPARE_SECONDS = 0.02
"""How long a transaction that was begun ahead waits for its work: longer than who was expected may take to come."""


class Succession:
    """Runs units of work on one database. Where `expected` says at the end of one that another follows, its commit and
    the next one's beginning are one round trip, and the connection is not given back in between.

    Several may run side by side: one at a time has its beginning ahead. Through a pooler each begins by itself, since
    what a transaction brings along there ends with it. Close it to give back what was begun for nobody.
    """

    def __init__(self, database: Database, expected: Callable[[], bool]) -> None:
        self._database = database
        self._expected = expected
        self._ahead: tuple[Unit, Connection, asyncio.TimerHandle] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """As Database.run."""
        return await self._database.run(work, self._next)

    async def close(self) -> None:
        """Give back what was begun ahead."""
        self._give_up()
        await asyncio.gather(*self._ending)

    @asynccontextmanager
    async def _following(self) -> AsyncIterator[Connection]:
        """One unit of work: the one that was begun ahead, or a new one."""
        ahead = self._take()
        if ahead is not None and lost(ahead[1]):
            await _ended(ahead[0])
            ahead = None
        if ahead is None:
            unit: Unit = self._database.transaction()
            connection: Connection = await unit.__aenter__()
        else:
            unit, connection = ahead
        try:
            yield connection
        except BaseException as error:
            await unit.__aexit__(type(error), error, error.__traceback__)
            raise
        await self._end(unit, connection)

    def _take(self) -> tuple[Unit, Connection] | None:
        """The unit of work that was begun ahead, if there is one."""
        if self._ahead is None:
            return None
        unit, connection, timer = self._ahead
        self._ahead = None
        timer.cancel()
        return unit, connection

    async def _end(self, unit: Unit, connection: Connection) -> None:
        """Commit; what is begun with it is kept for the next. Raises as the end of a unit of work does."""
        if self._begun() or not self._expected():
            await unit.__aexit__(None, None, None)
            return
        try:
            await connection.execute("COMMIT AND CHAIN")
        except BaseException as error:
            await unit.__aexit__(type(error), error, error.__traceback__)
            raise
        if self._begun():  # by another that ended meanwhile
            await unit.__aexit__(None, None, None)
            return
        timer = asyncio.get_running_loop().call_later(SPARE_SECONDS, self._give_up)
        self._ahead = unit, connection, timer

    def _begun(self) -> bool:
        return self._ahead is not None

    def _next(self) -> Unit:
        return self._database.transaction() if self._database.pooled else self._following()

    def _give_up(self) -> None:
        """Nobody came: there is nothing in it to commit."""
        if (ahead := self._take()) is not None:
            ending = asyncio.get_running_loop().create_task(_ended(ahead[0]), name="unit of work for nobody")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)


async def _ended(unit: Unit) -> None:
    """End a unit of work in which nothing was done: whether that succeeds tells nobody anything."""
    try:
        await unit.__aexit__(None, None, None)
    except PosthornError:
        return
