"""The scrub finds what is missing or damaged, the search what no database names; each goes on where it was."""

import os
import time
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn_model.ids import AccountId
from posthorn_model.ports import StoredObject
from posthorn_storage import Fence, Storage
from posthorn_storage.blobs.orphans import find_orphans
from posthorn_testkit.contracts.objects import fresh_key

pytestmark = [pytest.mark.postgres, pytest.mark.leaves_rows]
KEY = "roles/purge"
ANN = AccountId(1)


@pytest_asyncio.fixture
async def fence(storage: Storage) -> Fence:
    return Fence(KEY, (await storage.leases.acquire([KEY], "me", 3600))[KEY])


def object_files(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "blobs").rglob("*") if path.is_file())


def age(path: Path) -> None:
    old = time.time() - 30 * 86_400
    os.utime(path, (old, old))


async def scrub_all(storage: Storage, fence: Fence, limit: int) -> list[str]:
    found: list[str] = []
    for _ in range(100):
        step = await storage.blob_upkeep.scrub(fence, limit)
        assert step.looked_at <= limit
        found += [f"{finding.rule.name} {finding.where['blob']}" for finding in step.findings]
        if step.ended:
            return found
    raise AssertionError("a round has an end")


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_missing_and_damaged_blobs_are_found_once_in_a_round(
    storage: Storage, fence: Fence, tmp_path: Path, limit: int
) -> None:
    for _ in range(7):
        await storage.blobs.upload(ANN, os.urandom(20_000))
    await storage.blobs.upload(ANN, b"in its row")
    assert await scrub_all(storage, fence, limit) == []
    files = object_files(tmp_path)
    keys = [path.name[:64] for path in files]
    files[0].unlink()
    damaged = bytearray(files[3].read_bytes())
    damaged[100] ^= 1
    files[3].write_bytes(damaged)
    files[5].write_bytes(files[5].read_bytes()[:-1])
    expected = [f"blob-missing {keys[0]}", f"blob-damaged {keys[3]}", f"blob-damaged {keys[5]}"]
    for _ in range(2):
        assert sorted(await scrub_all(storage, fence, limit)) == sorted(expected)


async def test_a_walk_of_an_owner_of_the_past_does_not_count(storage: Storage, fence: Fence) -> None:
    for _ in range(4):
        await storage.blobs.upload(ANN, os.urandom(20_000))
    await storage.blob_upkeep.scrub(fence, 2)
    at = await storage._database.fetchval("SELECT position FROM blob_walk")
    await storage.blob_upkeep.scrub(Fence(fence.key, fence.epoch - 1), 2)  # type: ignore[arg-type]
    assert await storage._database.fetchval("SELECT position FROM blob_walk") == at


@pytest.mark.parametrize("limit", [1, 100])
async def test_objects_that_no_database_names(storage: Storage, fence: Fence, tmp_path: Path, limit: int) -> None:
    kept = [await storage.blobs.upload(ANN, os.urandom(20_000)) for _ in range(5)]
    store = storage.shards.home.blobs.stores.of(0)
    old, young = fresh_key(), fresh_key()
    for key in (old, young):
        await store.put(key, b"nobody's")
    for path in object_files(tmp_path):
        if path.name != young.hex():
            age(path)
    (tmp_path / "blobs" / "aa").mkdir(exist_ok=True)
    (tmp_path / "blobs" / "aa" / "bb").mkdir(exist_ok=True)
    (tmp_path / "blobs" / "aa" / "bb" / "readme.txt").write_bytes(b"not ours")

    async def search(*, remove: bool) -> tuple[list[bytes], int, int]:
        orphans: list[bytes] = []
        removed = foreign = 0
        for _ in range(100):
            step = await storage.blob_upkeep.find_orphans(fence, limit, age=86_400, remove=remove)
            orphans += step.orphans
            removed += step.removed
            foreign += step.foreign
            if step.ended:
                return orphans, removed, foreign
        raise AssertionError("a round has an end")

    assert await search(remove=False) == ([old], 0, 1)
    assert await search(remove=True) == ([old], 1, 1)
    assert await search(remove=True) == ([], 0, 1)
    for key in kept:
        await storage.blobs.read(ANN, key)
    names = [path.name for path in object_files(tmp_path)]
    assert young.hex() in names
    assert old.hex() not in names


async def test_every_database_of_a_store_is_asked(storage: Storage, tmp_path: Path) -> None:
    key = await storage.blobs.upload(ANN, os.urandom(20_000))
    assert key
    for path in object_files(tmp_path):
        age(path)
    store = storage.shards.home.blobs.stores.of(0)
    (found,) = (await store.list("", 10)).objects
    assert isinstance(found, StoredObject)
    assert (await find_orphans([storage._database], store, "", age=60, limit=10)).orphans == []
    assert (await find_orphans([], store, "", age=60, limit=10)).orphans == [found.key]
    await storage._database.execute("DELETE FROM blob_ref")
    await storage._database.execute("DELETE FROM blob")
    assert (await find_orphans([storage._database], store, "", age=60, limit=10)).orphans == [found.key]
    await storage._database.execute(
        "INSERT INTO blob_stray (object, key, store) VALUES ($1, $2, 0)",
        int.from_bytes(found.key[32:], "big"),
        found.key[:32],
    )
    assert (await find_orphans([storage._database], store, "", age=60, limit=10)).orphans == []
