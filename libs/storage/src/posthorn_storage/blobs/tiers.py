"""Moving old blobs to the cold store, in bounded steps under a lease; killed anywhere, nothing is lost.

1. Intent: a row of `blob_stray` for each copy, under a new number.
2. The object is read, compared with its hash, and copied; the copy is read back where that is possible.
3. If nothing has changed, one statement switches the row, takes the copy off the list and puts the old object there.
4. What has been on the list for the grace time is deleted.

A reader that found the row before 3 reads the old object meanwhile, or finds the row again (see blobs.store).
"""

import asyncio
from typing import Final

from posthorn_model.errors import Archived, BlobNotFound, Unavailable
from posthorn_model.ids import BlobKey
from posthorn_storage.blobs.content import decode
from posthorn_storage.blobs.object_names import object_key
from posthorn_storage.blobs.places import Place
from posthorn_storage.blobs.stores import Stores
from posthorn_storage.database import Connection, Row, affected
from posthorn_storage.leases import Fence

_AT_ONCE: Final = 4

# By the index on (store, stored_at).
PICK = """
SELECT key, size, encoding, object, store, nextval('blob_object') AS target FROM (
    SELECT key, size, encoding, object, store FROM blob
    WHERE store = $1 AND object IS NOT NULL AND state = 1 AND inline IS NULL
        AND stored_at < now() - make_interval(secs => $2)
    ORDER BY stored_at LIMIT $3) AS old
"""

INTEND = """
INSERT INTO blob_stray (object, key, store)
SELECT object, key, $3 FROM unnest($1::bigint[], $2::bytea[]) AS n (object, key)
"""

SWITCH = """
WITH wanted AS (
    SELECT n.* FROM unnest($1::bytea[], $2::bigint[], $3::smallint[], $4::bigint[]) AS n (key, object, store, target)
    JOIN blob_stray s ON s.object = n.target AND NOT s.sweeping ORDER BY n.key FOR UPDATE OF s
), switched AS (
    UPDATE blob SET store = $5, object = w.target FROM wanted w
    WHERE blob.key = w.key AND blob.object = w.object AND blob.store = w.store AND blob.state = 1
    RETURNING w.*
), settled AS (
    DELETE FROM blob_stray USING switched WHERE blob_stray.object = switched.target
)
INSERT INTO blob_stray (object, key, store) SELECT object, key, store FROM switched
"""

# A row that names the object would be a mistake of ours: then it is left alone.
SWEEP = """
UPDATE blob_stray SET sweeping = true WHERE object = ANY (ARRAY(
    SELECT s.object FROM blob_stray s
    WHERE s.at < now() - make_interval(secs => $1)
        AND NOT EXISTS (SELECT FROM blob b WHERE b.key = s.key AND b.object = s.object AND b.store = s.store)
    ORDER BY s.at LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING object, key, store
"""

SWEPT = "DELETE FROM blob_stray WHERE object = ANY ($1) AND sweeping"


# It is looked at again when it would be due anew, and holds up nobody meanwhile.
PUT_OFF = "UPDATE blob SET stored_at = now() WHERE key = ANY ($1) AND state = 1"


async def move_to_cold(place: Place, fence: Fence, *, age: float, limit: int) -> int:
    """Move no more than `limit` blobs stored `age` seconds ago or more; returns how many were moved.

    One whose object is missing, damaged or archived is put off: the scrub tells of it. Raises Unavailable.
    """
    stores, cold = place.stores, place.stores.cold
    moved = 0
    for number in sorted(set(stores.opened) - {cold}) if cold is not None else ():
        rows = await _intend(place, fence, number, age, limit - moved)
        slots = asyncio.Semaphore(_AT_ONCE)

        async def copy(row: Row, slots: asyncio.Semaphore = slots) -> bool:
            async with slots:
                return await _copy(stores, row)

        results = await asyncio.gather(*map(copy, rows), return_exceptions=True)
        moved += await _switch(place, fence, [row for row, done in zip(rows, results, strict=True) if done is True])
        if left := [row["key"] for row, done in zip(rows, results, strict=True) if done is False]:
            await place.database.execute(PUT_OFF, left)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if moved >= limit:
            break
    return moved


async def sweep(place: Place, fence: Fence, *, grace: float, limit: int) -> int:
    """Delete no more than `limit` objects that have been on the list for `grace` seconds; returns how many went."""

    async def take(connection: Connection) -> list[Row]:
        return await connection.fetch(SWEEP, grace, limit) if await fence.hold(connection) else []

    rows = await place.database.run(take)
    results = await asyncio.gather(
        *(place.stores.of(row["store"]).delete(object_key(BlobKey(row["key"]), row["object"])) for row in rows),
        return_exceptions=True,
    )
    gone = [row["object"] for row, result in zip(rows, results, strict=True) if result is None]
    count = await place.database.execute(SWEPT, gone) if gone else 0
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return count


async def _intend(place: Place, fence: Fence, number: int, age: float, limit: int) -> list[Row]:
    async def work(connection: Connection) -> list[Row]:
        if not await fence.hold(connection):
            return []
        rows: list[Row] = await connection.fetch(PICK, number, age, limit)
        await connection.execute(
            INTEND, [row["target"] for row in rows], [row["key"] for row in rows], place.stores.cold
        )
        return rows

    return await place.database.run(work)


async def _copy(stores: Stores, row: Row) -> bool:
    """Whether the object lies in the cold store now, whole."""
    key = BlobKey(row["key"])
    assert stores.cold is not None
    cold, target = stores.of(stores.cold), object_key(key, row["target"])
    try:
        stored = await stores.of(row["store"]).get(object_key(key, row["object"]))
    except (BlobNotFound, Archived):
        return False
    try:
        await asyncio.to_thread(decode, stored, row["encoding"], row["size"], key)
    except Unavailable:
        return False
    await cold.put(target, stored)
    try:
        if await cold.get(target) != stored:
            raise Unavailable("the cold store gave back something else than it was given", key=key.hex())
    except Archived:
        pass  # it cannot be read back; the store has checked what it was sent
    return True


async def _switch(place: Place, fence: Fence, rows: list[Row]) -> int:
    columns = [[row[name] for row in rows] for name in ("key", "object", "store", "target")]

    async def work(connection: Connection) -> int:
        if not await fence.hold(connection):
            return 0
        return affected(await connection.execute(SWITCH, *columns, place.stores.cold))

    return await place.database.run(work) if rows else 0
