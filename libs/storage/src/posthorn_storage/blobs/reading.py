"""Reading blobs: from memory, from this machine's disk, from the database's rows or from object stores, in that order.

Large blobs are kept and fetched in pieces of content: a range of a large message costs little, and what one range
brought serves the next. All that is handed out was compared with a hash or a checksum, but for ranges of plain objects.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from posthorn_model.errors import BlobNotFound
from posthorn_model.ids import BlobKey
from posthorn_model.ports import ObjectStore
from posthorn_storage.blobs.cache import BlobCache
from posthorn_storage.blobs.content import FRAMED, IN_THREAD, PLAIN, content_key, decode, decode_frames
from posthorn_storage.blobs.frames import PIECE, count_of, index_length, offsets
from posthorn_storage.blobs.object_names import object_key
from posthorn_storage.blobs.stores import Stores
from posthorn_storage.database import Database, Row
from posthorn_storage.database.plans import one_plan

PLACES: Final = ("memory", "disk", "database", "store")
"""Where a read is served from; what was brought into memory ahead counts for where it came from too."""
_MOVES: Final = 3
_INDEX: Final = -1
"""Under this number the cache in memory has the index of a blob's frames."""
T = TypeVar("T")

FIND_INLINE = one_plan(
    "SELECT key, size, encoding, inline FROM blob WHERE key = ANY ($1::bytea[]) AND state = 1 AND inline IS NOT NULL"
)

FIND = "SELECT size, encoding, inline, object, store FROM blob WHERE key = $1 AND state = 1"


class Reader:
    """Reads the blobs of one database. All methods raise BlobNotFound, Archived, Unavailable (also when damaged)."""

    def __init__(self, database: Database, stores: Stores, cache_bytes: int) -> None:
        self._database = database
        self._stores = stores
        self._cache = BlobCache(cache_bytes)
        self.served = dict.fromkeys(PLACES, 0)
        """How many reads were served from where."""

    async def read(self, key: BlobKey) -> bytes:
        """The whole content."""
        data = self._remembered(key)
        return data if data is not None else await self._whole(key, await self._find(key))

    async def warm(self, keys: Iterable[BlobKey]) -> None:
        """Bring those that lie in the database into memory, in one statement."""
        missing = [key for key in keys if self._cache.find(key) is None]
        if len(missing) < 2:
            return
        for row in await self._database.fetch(FIND_INLINE, missing):
            await self._whole(BlobKey(row["key"]), row)

    async def read_range(self, key: BlobKey, start: int, length: int) -> bytes:
        """Bytes `start` to `start + length` (fewer at the end)."""
        start, length = max(start, 0), max(length, 0)
        data = self._remembered(key)
        if data is None:
            row = await self._find(key)
            end = min(start + length, row["size"])
            if start >= end:
                return b""
            if row["inline"] is None and (row["encoding"] == PLAIN or row["encoding"] in FRAMED):
                return await self._range(key, row, start, end)
            data = await self._whole(key, row)
        return data[start : start + length]

    def _remembered(self, key: BlobKey) -> bytes | None:
        data = self._cache.find(key)
        self.served["memory"] += data is not None
        return data

    async def _find(self, key: BlobKey) -> Row:
        row = await self._database.fetchrow(FIND, key)
        if row is None:
            raise BlobNotFound(key=key.hex())
        return row

    async def _whole(self, key: BlobKey, row: Row) -> bytes:
        data = None if row["inline"] is not None else await self._kept_whole(key, row["size"])
        self.served["disk" if data is not None else "database" if row["inline"] is not None else "store"] += 1
        if data is None:
            stored = row["inline"]
            if stored is None:
                stored = await self._fetch(key, row, lambda store, name: store.get(name))
            data = await elsewhere(row["size"], lambda: decode(stored, row["encoding"], row["size"], key))
            if row["inline"] is None:
                await self._keep_on_disk(key, range(count_of(len(data))), _pieces(data))
        self._cache.add(key, data)
        return data

    async def _range(self, key: BlobKey, row: Row, start: int, end: int) -> bytes:
        if row["encoding"] == PLAIN and self._stores.disk is None:
            self.served["store"] += 1
            return await self._fetch(key, row, lambda store, name: store.get_range(name, start, end - start))
        numbers = range(start // PIECE, (end - 1) // PIECE + 1)
        in_memory = all(self._cache.find((key, number)) is not None for number in numbers)
        pieces = await self._kept(key, numbers, row["size"])
        missing = [number for number in numbers if number not in pieces]
        self.served["store" if missing else "memory" if in_memory else "disk"] += 1
        if missing:
            # In one request, from the first to the last: a piece between them that is there is fetched again.
            run = range(missing[0], missing[-1] + 1)
            fetched = await (self._plain if row["encoding"] == PLAIN else self._frames)(key, row, run)
            pieces.update(zip(run, fetched, strict=True))
            for number in missing:
                self._cache.add((key, number), pieces[number])
            await self._keep_on_disk(key, missing, [pieces[number] for number in missing])
        data = b"".join(pieces[number] for number in numbers)
        return data[start - numbers[0] * PIECE : end - numbers[0] * PIECE]

    async def _plain(self, key: BlobKey, row: Row, run: range) -> list[bytes]:
        start, end = run[0] * PIECE, min((run[-1] + 1) * PIECE, row["size"])
        return _pieces(await self._fetch(key, row, lambda store, name: store.get_range(name, start, end - start)))

    async def _frames(self, key: BlobKey, row: Row, run: range) -> list[bytes]:
        size, index = row["size"], self._cache.find((key, _INDEX))
        if index is None:
            length = index_length(size)
            index = await self._fetch(key, row, lambda store, name: store.get_range(name, 0, length))
        places = offsets(index, size)[run[0] : run[-1] + 2]
        self._cache.add((key, _INDEX), index)
        stored = await self._fetch(
            key, row, lambda store, name: store.get_range(name, places[0], places[-1] - places[0])
        )
        inside = [place - places[0] for place in places]
        return await elsewhere(len(run) * PIECE, lambda: decode_frames(stored, inside, row["encoding"]))

    async def _fetch(self, key: BlobKey, row: Row, read: Callable[[ObjectStore, BlobKey], Awaitable[bytes]]) -> bytes:
        """Read from the object of a row, or of what the row has become: a blob may move to another store meanwhile."""
        for _ in range(_MOVES):
            try:
                return await read(self._stores.of(row["store"]), object_key(key, row["object"]))
            except BlobNotFound:
                now = await self._find(key)
                if now["inline"] is not None or now["object"] == row["object"]:
                    raise
                row = now
        raise BlobNotFound(key=key.hex())

    async def _kept_whole(self, key: BlobKey, size: int) -> bytes | None:
        if self._stores.disk is None:
            return None
        numbers = range(count_of(size))
        kept = await self._kept(key, numbers, size)
        if len(kept) < len(numbers):
            return None
        data = b"".join(kept[number] for number in numbers)
        found = await elsewhere(size, lambda: content_key(data))
        return data if found == key[:32] else None

    async def _kept(self, key: BlobKey, numbers: range, size: int) -> dict[int, bytes]:
        """Those of the pieces that are in memory or on this machine's disk."""
        disk, found = self._stores.disk, {}
        for number in numbers:
            piece = self._cache.find((key, number))
            if piece is None and disk is not None:
                piece = await disk.find(key, number)
            if piece is not None and len(piece) == min(PIECE, size - number * PIECE):
                found[number] = piece
        return found

    async def _keep_on_disk(self, key: BlobKey, numbers: Iterable[int], pieces: Sequence[bytes]) -> None:
        if self._stores.disk is not None:
            for number, piece in zip(numbers, pieces, strict=True):
                await self._stores.disk.add(key, number, piece)


async def elsewhere(size: int, work: Callable[[], T]) -> T:
    """Run work over `size` bytes, off the event loop when that would hold it up."""
    return work() if size <= IN_THREAD else await asyncio.to_thread(work)


def _pieces(data: bytes) -> list[bytes]:
    return [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
