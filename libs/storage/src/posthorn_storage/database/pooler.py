"""Units of work through a pooler in transaction mode (PgBouncer), which lends a server for one transaction at a time.

Nothing may be left to the session: no prepared statements with names, no settings, no locks. So each transaction brings
its settings along with its BEGIN, in the same round trip.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeAlias

import asyncpg

from posthorn_storage.database.connect import transaction_settings
from posthorn_storage.database.limits import DatabaseLimits

Connection: TypeAlias = Any
"""An asyncpg connection (or its pool proxy) inside a unit of work."""
Isolation: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]


@asynccontextmanager
async def begin(
    connection: Connection, limits: DatabaseLimits, isolation: Isolation, *, read_only: bool
) -> AsyncGenerator[None]:
    """A transaction around the block, with the time limits that a session would have by itself."""
    settings = "".join(f"; SET LOCAL {name} = {value}" for name, value in transaction_settings(limits).items())
    level = isolation.replace("_", " ").upper()
    await connection.execute(f"BEGIN ISOLATION LEVEL {level}{' READ ONLY' if read_only else ''}{settings}")
    try:
        yield
    except BaseException:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")
