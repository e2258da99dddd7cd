"""Objects in a store that no database knows: found page by page, against the rows of all databases that use the store.

They come from deaths at the worst moment, and from restoring a database to an earlier time: then they may be what its
owner still wants, so nothing is deleted unless that was asked for.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_model.errors import Archived, BlobNotFound
from posthorn_model.ids import BlobKey
from posthorn_model.ports import ObjectStore
from posthorn_storage.blobs.object_names import parts_of
from posthorn_storage.database import Database

UNNAMED = """
SELECT n.name FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS n (name, key, object)
WHERE NOT EXISTS (SELECT FROM blob b WHERE b.key = n.key AND b.object = n.object)
    AND NOT EXISTS (SELECT FROM blob_stray s WHERE s.object = n.object AND s.key = n.key)
"""


@dataclass(frozen=True, slots=True)
class OrphanPage:
    """What a page of a listing held."""

    looked_at: int
    orphans: Sequence[BlobKey]
    foreign: int
    """Names that are not ours."""
    after: str
    """Where the next page begins; empty: this was the last one."""


async def find_orphans(
    databases: Sequence[Database], store: ObjectStore, after: str, *, age: float, limit: int
) -> OrphanPage:
    """Look at a page of about `limit` objects of `store`; those stored less than `age` seconds ago are passed over.

    `databases` must be all that name objects of this store. Raises Unavailable: then nothing is said of the page.
    """
    page = await store.list(after, limit)
    oldest = time.time() - age
    left = [found.key for found in page.objects if found.stored_at < oldest]
    for database in databases:
        if not left:
            break
        keys, numbers = zip(*map(parts_of, left), strict=True)
        rows = await database.fetch(UNNAMED, left, keys, numbers)
        left = [BlobKey(row["name"]) for row in rows]
    # One that was collected between the two looks is gone by now.
    there = await asyncio.gather(*(_exists(store, key) for key in left))
    orphans = [key for key, exists in zip(left, there, strict=True) if exists]
    return OrphanPage(len(page.objects), orphans, page.foreign, page.after)


async def _exists(store: ObjectStore, key: BlobKey) -> bool:
    try:
        await store.get_range(key, 0, 1)
    except BlobNotFound:
        return False
    except Archived:
        return True
    return True
