"""Units of work through a pooler in transaction mode (PgBouncer), which lends a server for one transaction at a time.

Nothing may be left to the session: no prepared statements with names, no settings, no locks. So each transaction brings
its settings along with its BEGIN, in the same round trip.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from posthorn_storage.database.connect import transaction_settings
from posthorn_storage.database.limits import DatabaseLimits
from posthorn_storage.database.undoing import Connection, Isolation, undone


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
        await undone(connection, lambda: connection.execute("ROLLBACK"), limits.give_back)
        raise
    await connection.execute("COMMIT")
