"""Ranges of large blobs cost little, and are served from memory and from this machine's disk when they were read."""

import base64
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn_model.errors import BlobNotFound, Unavailable
from posthorn_model.ids import BlobKey
from posthorn_storage import Storage
from posthorn_storage.blobs.content import LZ4, PLAIN, ZSTD
from posthorn_storage.blobs.disk_cache import DiskCache
from posthorn_storage.blobs.file_store import FileStore
from posthorn_storage.blobs.frames import PIECE
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.blobs.stores import alone

pytestmark = pytest.mark.postgres
MESSAGE = b"Subject: large\r\n\r\n" + base64.encodebytes(os.urandom(3_000_000))
MEDIUM = b"many words again and again " * 15_000


class CountingStore(FileStore):
    """Counts what is asked of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.requests = 0
        self.fetched = 0

    async def get(self, key: BlobKey) -> bytes:
        data = await super().get(key)
        self.requests, self.fetched = self.requests + 1, self.fetched + len(data)
        return data

    async def get_range(self, key: BlobKey, start: int, length: int) -> bytes:
        data = await super().get_range(key, start, length)
        self.requests, self.fetched = self.requests + 1, self.fetched + len(data)
        return data


@pytest_asyncio.fixture
async def store(storage: Storage, tmp_path: Path) -> AsyncIterator[CountingStore]:
    counting = CountingStore(tmp_path / "blobs")
    yield counting
    await counting.close()


def blobs_over(
    storage: Storage, store: FileStore, *, encoding: int = ZSTD, memory: int = 0, disk: DiskCache | None = None
) -> Blobs:
    stores = replace(alone(store), disk=disk)
    return Blobs(storage._database, stores, inline_limit=0, encoding=encoding, cache_bytes=memory)


@pytest.mark.parametrize("encoding", [PLAIN, ZSTD, LZ4])
@pytest.mark.parametrize("memory", [0, 100_000_000])
@pytest.mark.parametrize("with_disk", [False, True])
async def test_every_range_is_right(
    storage: Storage, store: CountingStore, tmp_path: Path, encoding: int, memory: int, with_disk: bool
) -> None:
    disk = await DiskCache.open(tmp_path / "cache", 100_000_000) if with_disk else None
    blobs = blobs_over(storage, store, encoding=encoding, memory=memory, disk=disk)
    chance = random.Random(encoding)
    size = len(MESSAGE)
    starts = [0, 1, PIECE - 1, PIECE, PIECE + 1, size - 1, size, size + 1, size + PIECE, -5]
    for content in (MESSAGE, MEDIUM):
        key = (await blobs.prepare(content)).key
        for start in starts + [chance.randrange(size) for _ in range(5)]:
            for length in (0, 1, 70_000, PIECE, 2 * PIECE + 3, size, -1):
                begin = max(start, 0)
                assert await blobs.read_range(key, start, length) == content[begin : begin + max(length, 0)]
        assert await blobs.read(key) == content
    if disk is not None:
        disk.close()


@pytest.mark.parametrize("encoding", [PLAIN, ZSTD, LZ4])
async def test_a_range_fetches_little(storage: Storage, store: CountingStore, encoding: int) -> None:
    blobs = blobs_over(storage, store, encoding=encoding)
    key = (await blobs.prepare(MESSAGE)).key
    assert await blobs.read_range(key, 1_000_000, 64_000) == MESSAGE[1_000_000:1_064_000]
    assert store.fetched < 3 * PIECE
    assert store.requests <= 2


async def test_neighbouring_ranges_fetch_nothing_more(storage: Storage, store: CountingStore) -> None:
    blobs = blobs_over(storage, store, memory=64_000_000)
    key = (await blobs.prepare(MESSAGE)).key
    for start in range(0, len(MESSAGE), 64_000):
        assert await blobs.read_range(key, start, 64_000) == MESSAGE[start : start + 64_000]
    assert store.fetched < len(MESSAGE)


@pytest.mark.parametrize("encoding", [PLAIN, ZSTD, LZ4])
@pytest.mark.parametrize("content", [MESSAGE, MEDIUM])
async def test_the_disk_serves_what_was_read_also_after_a_restart(
    storage: Storage, store: CountingStore, tmp_path: Path, encoding: int, content: bytes
) -> None:
    disk = await DiskCache.open(tmp_path / "cache", 64_000_000)
    blobs = blobs_over(storage, store, encoding=encoding, disk=disk)
    key = (await blobs.prepare(content)).key
    assert await blobs.read_range(key, 1000, 5000) == content[1000:6000]
    assert await blobs.read(key) == content
    disk.close()
    before = store.requests
    disk = await DiskCache.open(tmp_path / "cache", 64_000_000)
    blobs = blobs_over(storage, store, encoding=encoding, disk=disk)
    assert await blobs.read(key) == content
    assert await blobs.read_range(key, 300_000, 5000) == content[300_000:305_000]
    assert store.requests == before
    # What was damaged there is fetched again.
    for path in (tmp_path / "cache").glob("??/*.piece"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert await blobs.read_range(key, 300_000, 5000) == content[300_000:305_000]
    assert store.requests > before
    disk.close()


async def test_damage_in_the_store_is_told_for_the_ranges_it_concerns(
    storage: Storage, store: CountingStore, tmp_path: Path
) -> None:
    blobs = blobs_over(storage, store)
    key = (await blobs.prepare(MESSAGE)).key
    (path,) = (path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    stored = bytearray(path.read_bytes())
    stored[-10] ^= 1
    path.write_bytes(stored)
    assert await blobs.read_range(key, 1000, 5000) == MESSAGE[1000:6000]
    for damaged in (blobs.read_range(key, len(MESSAGE) - 5000, 5000), blobs.read(key)):
        with pytest.raises(Unavailable):
            await damaged
    path.write_bytes(stored[: len(stored) // 2])
    with pytest.raises(Unavailable):
        await blobs.read_range(key, len(MESSAGE) - 5000, 5000)
    path.unlink()
    with pytest.raises(BlobNotFound):
        await blobs.read_range(key, 1000, 5000)
