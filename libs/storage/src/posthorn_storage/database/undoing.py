"""The end of a unit of work that failed: it is rolled back, or its connection is given up, within seconds either way.

A statement that was cancelled (its caller's time was up) keeps its connection until the server says that it ended. A
server that hangs does not say so, and the driver would wait as long as for a statement.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

import asyncpg

Connection: TypeAlias = Any
"""An asyncpg connection (or its pool proxy) inside a unit of work."""
Isolation: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]


async def undone(connection: Connection, roll_back: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Roll back. Where that fails or takes longer, the connection is closed, which rolls back as well.

    What led here is what the caller tells, so only being cancelled is raised.
    """
    try:
        async with asyncio.timeout(seconds):
            await roll_back()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):  # TimeoutError is one
        connection.terminate()
    except BaseException:
        connection.terminate()
        raise


class Begun:
    """A transaction around a block; `seconds` is how long its rollback may take."""

    __slots__ = ("_connection", "_seconds", "_transaction")

    def __init__(self, connection: Connection, seconds: float, isolation: Isolation, *, read_only: bool) -> None:
        self._connection = connection
        self._seconds = seconds
        self._transaction = connection.transaction(isolation=isolation, readonly=read_only)

    async def __aenter__(self) -> None:
        await self._transaction.start()

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            await self._transaction.commit()
        else:
            await undone(self._connection, self._transaction.rollback, self._seconds)
