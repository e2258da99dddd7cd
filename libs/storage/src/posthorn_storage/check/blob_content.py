"""Whether blobs are where their rows say, and are what their keys are the hashes of. It changes nothing.

An object that is missing is looked for again with its row: it may have been collected or moved in between.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from posthorn_model.errors import Archived, BlobNotFound, Unavailable
from posthorn_model.ids import BlobKey
from posthorn_storage.blobs.content import decode
from posthorn_storage.blobs.object_names import object_key
from posthorn_storage.blobs.stores import Stores
from posthorn_storage.check.rules import Finding, Rule
from posthorn_storage.database import Database, Row

PARALLEL: Final = 8

BLOBS = """
SELECT key, size, encoding, inline, object, store FROM blob
WHERE state = 1 AND key > $1 AND ($3 OR inline IS NULL) ORDER BY key LIMIT $2
"""

STILL_LIVE = "SELECT EXISTS (SELECT FROM blob WHERE key = $1 AND state = 1 AND object IS NOT DISTINCT FROM $2)"

BACKUP: Final = "restore the object from a backup of the blob store"
MISSING = Rule("blob-missing", "a durable blob has no object in the blob store (law 3)", "", BACKUP)
DAMAGED = Rule("blob-damaged", "the stored content of a blob is not the content its key is the hash of", "", BACKUP)


@dataclass(frozen=True, slots=True)
class Looked:
    """What one batch held."""

    looked_at: int
    findings: Sequence[Finding]
    last: bytes
    """The key to go on after; empty: there are no more."""


async def look_at_blobs(
    database: Database, stores: Stores, after: bytes, limit: int, *, content: bool = True, inline: bool = False
) -> Looked:
    """Look at the next `limit` live blobs by key, with `inline` also at those in the database; read them if `content`.

    Content that is archived is taken for granted. Raises Unavailable.
    """
    rows = await database.fetch(BLOBS, after, limit, inline)
    slots = asyncio.Semaphore(PARALLEL)

    async def look(row: Row) -> Finding | None:
        async with slots:
            return await _look_at(database, stores, row, content=content)

    found = await asyncio.gather(*map(look, rows))
    last = rows[-1]["key"] if len(rows) == limit else b""
    return Looked(len(rows), [finding for finding in found if finding is not None], last)


async def _look_at(database: Database, stores: Stores, row: Row, *, content: bool) -> Finding | None:
    key = BlobKey(row["key"])
    stored = row["inline"]
    try:
        if stored is None and content:
            stored = await stores.of(row["store"]).get(object_key(key, row["object"]))
        elif stored is None:
            await stores.of(row["store"]).get_range(object_key(key, row["object"]), 0, 1)
    except BlobNotFound:
        return await _finding(database, MISSING, row)
    except Archived:
        return None
    if not content:
        return None
    try:
        await asyncio.to_thread(decode, stored, row["encoding"], row["size"], key)
    except Unavailable:
        return await _finding(database, DAMAGED, row)
    return None


async def _finding(database: Database, rule: Rule, row: Row) -> Finding | None:
    if not await database.fetchval(STILL_LIVE, row["key"], row["object"]):
        return None
    return Finding(rule, None, {"blob": row["key"].hex(), "size": row["size"]})
