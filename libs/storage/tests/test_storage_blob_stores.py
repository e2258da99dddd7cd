"""Several object stores side by side: blobs are spread by their hash, and found again whatever the settings say."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey
from posthorn_storage import BlobPlaces, FsSettings, Storage, StorageSettings

pytestmark = pytest.mark.postgres


def places(tmp_path: Path, *hot: str, known: Sequence[str] = ()) -> BlobPlaces:
    return BlobPlaces({name: FsSettings(tmp_path / name) for name in {*hot, *known}}, hot)


async def opened(dsn: str, blobs: Any, **more: Any) -> Storage:
    return await Storage.open(StorageSettings(dsn=dsn, blobs=blobs, inline_limit=0, cache_bytes=0, pool_size=2, **more))


async def store_some(storage: Storage, count: int = 60) -> dict[BlobKey, bytes]:
    contents = [os.urandom(100) for _ in range(count)]
    return {(await storage.blobs.prepare(content)).key: content for content in contents}


async def numbers(storage: Storage) -> dict[str, int]:
    rows = await storage._database.fetch("SELECT name, number FROM blob_store ORDER BY number")
    return {row["name"]: row["number"] for row in rows}


def objects(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def stored_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def test_the_list_may_grow_shrink_and_turn(postgres_dsn: str, tmp_path: Path) -> None:
    stored: dict[BlobKey, bytes] = {}
    for hot in [("a",), ("a", "b"), ("c", "b", "a"), ("b",)]:
        storage = await opened(postgres_dsn, places(tmp_path, *hot, known=["a", "b", "c"]))
        before = {name: objects(tmp_path / name) for name in "abc"}
        stored |= await store_some(storage)
        grown = [name for name in "abc" if objects(tmp_path / name) > before[name]]
        assert grown == sorted(hot)
        for key, content in stored.items():
            assert await storage.blobs.read(None, key) == content
        found = [finding async for step in storage.check.blobs(content=True) for finding in step.findings]
        assert found == []
        await storage.close()
    assert objects(tmp_path) == len(stored)
    storage = await opened(postgres_dsn, places(tmp_path, "b", known=["a", "c"]))
    assert await numbers(storage) == {"a": 0, "b": 1, "c": 2}
    # What nothing refers to goes from the store where it lies.
    owner = await storage.leases.acquire(["roles/purge"], "me", 60)
    await storage._database.execute("UPDATE blob SET touched_at = now() - interval '1 day'")
    assert await storage.purge.purge_blobs(owner["roles/purge"], 1000) == len(stored)
    assert objects(tmp_path) == 0
    await storage.close()


async def test_a_store_with_blobs_must_be_named(postgres_dsn: str, tmp_path: Path) -> None:
    storage = await opened(postgres_dsn, places(tmp_path, "a", "empty"))
    key = next(iter(await store_some(storage, 1)))
    await storage._database.execute("UPDATE blob SET store = 0")
    with pytest.raises(Unavailable, match='"a"'):
        await opened(postgres_dsn, places(tmp_path, "b"))
    # One that lost its name after this process started.
    await storage._database.execute("UPDATE blob SET store = 7 WHERE key = $1", key)
    with pytest.raises(Unavailable, match="do not name the store"):
        await storage.blobs.read(None, key)
    await storage._database.execute("DELETE FROM blob")
    await storage.close()
    await (await opened(postgres_dsn, places(tmp_path, "b"))).close()


async def test_a_name_is_given_to_the_store_that_had_none(postgres_dsn: str, tmp_path: Path) -> None:
    storage = await opened(postgres_dsn, FsSettings(tmp_path / "a"))
    stored = await store_some(storage)
    await storage.close()
    storage = await opened(postgres_dsn, places(tmp_path, "a"))
    assert await numbers(storage) == {"a": 0}
    for key, content in stored.items():
        assert await storage.blobs.read(None, key) == content
    await storage.close()
    await (await opened(postgres_dsn, FsSettings(tmp_path / "a"))).close()
    await (await opened(postgres_dsn, places(tmp_path, "a", "b"))).close()
    with pytest.raises(Unavailable, match="by their names"):
        await opened(postgres_dsn, FsSettings(tmp_path / "a"))


async def test_processes_that_start_together_agree_on_numbers(postgres_dsn: str, tmp_path: Path) -> None:
    orders = [("a", "b", "c"), ("c", "a"), ("b",), ("d", "a"), ("c", "b", "a", "d")]
    storages = await asyncio.gather(*(opened(postgres_dsn, places(tmp_path, *order)) for order in orders * 2))
    given = await numbers(storages[0])
    assert sorted(given.values()) == [0, 1, 2, 3]
    stored: dict[BlobKey, bytes] = {}
    for order, storage in zip(orders * 2, storages, strict=True):
        assert [
            storage.shards.home.blobs.stores.names[number] for number in storage.shards.home.blobs.stores.hot
        ] == list(order)
        stored |= await store_some(storage, 4)
    reader = await opened(postgres_dsn, places(tmp_path, "a", "b", "c", "d"))
    for key, content in stored.items():
        assert await reader.blobs.read(None, key) == content
    for storage in [*storages, reader]:
        await storage.close()


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
async def test_what_was_stored_in_another_form_stays_readable(
    postgres_dsn: str, tmp_path: Path, compression: str
) -> None:
    contents = [b"large and simple " * 40_000, b"small and simple " * 20]
    writer = await opened(postgres_dsn, FsSettings(tmp_path), compression=compression)
    keys = [(await writer.blobs.prepare(content)).key for content in contents]
    await writer.close()
    assert (stored_bytes(tmp_path) < 100_000) == (compression != "none")
    for other in ("zstd", "lz4", "none"):
        reader = await opened(postgres_dsn, FsSettings(tmp_path), compression=other)
        for key, content in zip(keys, contents, strict=True):
            assert await reader.blobs.read(None, key) == content
            assert await reader.shards.home.blobs.read_range(key, 100, 50) == content[100:150]
        await reader.close()
