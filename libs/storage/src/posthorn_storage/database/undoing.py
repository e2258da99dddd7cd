"""The end of a unit of work that failed: it is rolled back, or its connection is given up, within seconds either way.

A statement that was cancelled (its caller's time was up) keeps its connection until the server says that it ended. A
server that hangs does not say so, and the driver would wait as long as for a statement.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def begun(
    connection: Connection, seconds: float, isolation: Isolation, *, read_only: bool
) -> AsyncGenerator[None]:
    """A transaction around the block; `seconds` is how long its rollback may take."""
    transaction = connection.transaction(isolation=isolation, readonly=read_only)
    await transaction.start()
    try:
        yield
    except BaseException:
        await undone(connection, transaction.rollback, seconds)
        raise
    await transaction.commit()
