"""Removes what has ended from the tables of the lookup store. Redis forgets by itself."""

from posthorn_storage.database import Connection, affected

TABLES = ("lookup_counter", "lookup_limit", "lookup_value", "lookup_set")

# Rows that somebody writes to at the moment are in use again, or go the next time.
EXPIRED = """
DELETE FROM {table} WHERE key = ANY (ARRAY(
    SELECT key FROM {table} WHERE until < now() ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED))
"""


async def purge_expired(connection: Connection, limit: int) -> int:
    """Remove at most `limit` rows that ended; returns how many went. Raises Unavailable, Overloaded."""
    gone = 0
    for table in TABLES:
        if gone < limit:
            gone += affected(await connection.execute(EXPIRED.format(table=table), limit - gone))
    return gone
