"""Removing blobs that nothing refers to any more (flows.md E), in bounded steps under a lease.

Rows first, objects last of all: lock, look again, mark `deleting`; delete the object; remove the row. It never revives
a row, and a collector that wakes up late deletes at most an object whose name nobody will ever use again.
"""

import asyncio

from posthorn_model.ids import BlobKey
from posthorn_storage.blobs.object_names import object_key
from posthorn_storage.blobs.stores import Stores
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.leases import Fence

# Alone in its statement: the next one then sees every reference whose writer held the row before (see blobs.attach).
LOCK = """
SELECT key FROM blob WHERE touched_at < now() - make_interval(secs => $1)
ORDER BY touched_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""

JUDGE = """
WITH judged AS (
    SELECT key, object, store, EXISTS (SELECT 1 FROM blob_ref WHERE blob_key = key) AS referenced
    FROM blob WHERE key = ANY ($1::bytea[])
), kept AS (
    UPDATE blob SET touched_at = NULL FROM judged WHERE blob.key = judged.key AND referenced
), gone AS (
    DELETE FROM blob USING judged WHERE blob.key = judged.key AND NOT referenced AND judged.object IS NULL
    RETURNING blob.key
), marked AS (
    UPDATE blob SET state = 2, epoch = $2 FROM judged
    WHERE blob.key = judged.key AND NOT referenced AND judged.object IS NOT NULL
    RETURNING blob.key, blob.object, blob.store
)
SELECT key, NULL AS object, NULL AS store FROM gone UNION ALL SELECT key, object, store FROM marked
"""

REMOVE = """
DELETE FROM blob USING unnest($1::bytea[], $2::bigint[]) AS done (key, object)
WHERE blob.key = done.key AND blob.object = done.object AND blob.state = 2 AND blob.epoch = $3
"""


async def collect(database: Database, stores: Stores, fence: Fence, *, grace: float, limit: int) -> int:
    """Look at no more than `limit` blobs that were let go of `grace` seconds ago or more; returns how many went.

    Changes nothing once the lease has another epoch. Raises Unavailable; the next call goes on from there.
    """
    marked, gone = await mark(database, fence, grace=grace, limit=limit)
    if not marked:
        return gone
    results = await asyncio.gather(*(_delete(stores, row) for row in marked), return_exceptions=True)
    deleted = [row for row, result in zip(marked, results, strict=True) if result is None]
    gone += await remove(database, fence, deleted)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return gone


async def _delete(stores: Stores, row: Row) -> None:
    await stores.of(row["store"]).delete(object_key(BlobKey(row["key"]), row["object"]))


async def mark(database: Database, fence: Fence, *, grace: float, limit: int) -> tuple[list[Row], int]:
    """Steps 1 and 2: returns the rows whose objects are to be deleted, and how many rows went at once."""

    async def work(connection: Connection) -> tuple[list[Row], int]:
        if not await fence.hold(connection):
            return [], 0
        keys = [row["key"] for row in await connection.fetch(LOCK, grace, limit)]
        rows = await connection.fetch(JUDGE, keys, fence.epoch) if keys else []
        marked = [row for row in rows if row["object"] is not None]
        return marked, len(rows) - len(marked)

    return await database.run(work)


async def remove(database: Database, fence: Fence, rows: list[Row]) -> int:
    """Step 4: the rows whose objects are gone, unless another collector has taken them over."""
    return await database.execute(REMOVE, [row["key"] for row in rows], [row["object"] for row in rows], fence.epoch)
