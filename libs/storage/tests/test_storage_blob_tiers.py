"""Old blobs move to the cold store: killed anywhere nothing is lost, and whoever reads meanwhile misses nothing."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.errors import Archived, BlobNotFound, Unavailable
from posthorn_model.ids import AccountId, BlobKey, Epoch
from posthorn_storage import BlobPlaces, Fence, FsSettings, Storage, StorageSettings
from posthorn_storage.blobs import tiers
from posthorn_storage.blobs.content import PLAIN
from posthorn_storage.blobs.file_store import FileStore
from posthorn_storage.blobs.places import Place
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.blobs.stores import Stores
from posthorn_storage.blobs.tiers import move_to_cold, sweep
from posthorn_storage.blobs.upkeep import BlobUpkeep
from posthorn_testkit.databases import Databases

pytestmark = pytest.mark.postgres
KEY = "roles/purge"
AGE = 86_400.0
ANN = AccountId(1)
OLDER = "UPDATE blob SET stored_at = now() - interval '2 days'"
LISTED_LONG = "UPDATE blob_stray SET at = now() - interval '2 days'"


@pytest_asyncio.fixture
async def tiered(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Storage]:
    """Two hot stores and a cold one; nothing in the database's rows, nothing in memory."""
    places = BlobPlaces({name: FsSettings(tmp_path / name) for name in ("a", "b", "cold")}, ("a", "b"), "cold")
    settings = StorageSettings(
        dsn=postgres_dsn, blobs=places, inline_limit=0, cache_bytes=0, pool_size=5, cold_after=AGE
    )
    storage = await Storage.open(settings)
    yield storage
    await storage.close()


@pytest_asyncio.fixture
async def fence(tiered: Storage) -> Fence:
    return Fence(KEY, (await tiered.leases.acquire([KEY], "me", 3600))[KEY])


def place_of(storage: Storage) -> Place:
    return Place(storage._database, storage.shards.home.blobs.stores)


async def store_some(storage: Storage, count: int = 20) -> dict[BlobKey, bytes]:
    contents = [os.urandom(3000) for _ in range(count)]
    return {await storage.blobs.upload(ANN, content): content for content in contents}


def objects(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


async def check(storage: Storage, stored: dict[BlobKey, bytes]) -> None:
    """Everything can be read, whole and in ranges, and the checker agrees."""
    for key, content in stored.items():
        assert await storage.blobs.read(ANN, key) == content
        assert await storage.blobs.read_range(ANN, key, 100, 50) == content[100:150]
    assert [finding async for step in storage.check.blobs(content=True) for finding in step.findings] == []


async def test_old_blobs_move_and_young_ones_stay(tiered: Storage, fence: Fence, tmp_path: Path) -> None:
    old = await store_some(tiered)
    await tiered._database.execute(OLDER)
    young = await store_some(tiered)
    assert await tiered.blob_upkeep.move_to_cold(fence, 15) == 15
    await check(tiered, old | young)
    assert await tiered.blob_upkeep.move_to_cold(fence, 15) == 5
    assert await tiered.blob_upkeep.move_to_cold(fence, 15) == 0
    assert objects(tmp_path / "cold") == len(old)
    # The old objects stay for readers that found the rows before, for the grace time.
    assert objects(tmp_path / "a") + objects(tmp_path / "b") == len(old) + len(young)
    assert await tiered.blob_upkeep.sweep(fence, 100) == 0
    await tiered._database.execute(LISTED_LONG)
    assert await tiered.blob_upkeep.sweep(fence, 15) == 15
    assert await tiered.blob_upkeep.sweep(fence, 15) == 5
    assert objects(tmp_path / "a") + objects(tmp_path / "b") == len(young)
    assert await tiered._database.fetchval("SELECT count(*) FROM blob_stray") == 0
    await check(tiered, old | young)
    # Equal content finds what is in the cold store, and what nothing refers to goes from there.
    assert await tiered.blobs.upload(ANN, next(iter(old.values()))) in old
    await tiered._database.execute("DELETE FROM blob_ref")
    await tiered._database.execute("UPDATE blob SET touched_at = now() - interval '1 day'")
    assert await tiered.blob_upkeep.collect(fence, 100) == len(old) + len(young)
    assert objects(tmp_path) == 0


async def test_an_owner_of_the_past_moves_nothing(tiered: Storage, fence: Fence, tmp_path: Path) -> None:
    stored = await store_some(tiered)
    await tiered._database.execute(OLDER)
    await tiered._database.execute("UPDATE lease SET epoch = epoch + 1")
    assert await tiered.blob_upkeep.move_to_cold(fence, 100) == 0
    assert await tiered.blob_upkeep.sweep(fence, 100) == 0
    assert objects(tmp_path / "cold") == 0
    assert await tiered._database.fetchval("SELECT count(*) FROM blob_stray") == 0
    await check(tiered, stored)


@pytest.mark.parametrize("dies_in", ["_copy", "_switch"])
async def test_a_death_between_two_steps_loses_nothing(
    tiered: Storage, fence: Fence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    stored = await store_some(tiered)
    await tiered._database.execute(OLDER)

    async def die(*_: Any) -> bool:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(tiers, dies_in, die)
        with pytest.raises(RuntimeError):
            await tiered.blob_upkeep.move_to_cold(fence, 100)
    await check(tiered, stored)
    copies = objects(tmp_path / "cold")
    assert (copies > 0) == (dies_in == "_switch")
    # The next holder moves them anew; the copies of the dead one are known, and go.
    assert await tiered.blob_upkeep.move_to_cold(fence, 100) == len(stored)
    await tiered._database.execute(LISTED_LONG)
    while await tiered.blob_upkeep.sweep(fence, 100):
        pass
    assert objects(tmp_path) == objects(tmp_path / "cold") == len(stored)
    await check(tiered, stored)


async def test_a_copy_that_was_swept_is_never_switched_to(
    tiered: Storage, fence: Fence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mover that sleeps before the switch, for so long that its copies were taken for left over."""
    stored = await store_some(tiered)
    await tiered._database.execute(OLDER)
    place, switch = place_of(tiered), tiers._switch

    async def late(*arguments: Any) -> int:
        await tiered._database.execute(LISTED_LONG)
        assert await sweep(place, fence, grace=60, limit=100) == len(arguments[2])
        return await switch(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(tiers, "_switch", late)
        assert await move_to_cold(place, fence, age=AGE, limit=100) == 0
    assert objects(tmp_path / "cold") == 0
    await check(tiered, stored)


async def test_what_cannot_be_moved_holds_up_nobody(tiered: Storage, fence: Fence, tmp_path: Path) -> None:
    stored = await store_some(tiered)
    await tiered._database.execute(OLDER)
    paths = [path for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    paths[0].write_bytes(b"damaged")
    paths[1].unlink()
    moved = 0
    for _ in range(10):
        moved += await tiered.blob_upkeep.move_to_cold(fence, 5)
    assert moved == len(stored) - 2
    broken = [finding.rule.name async for step in tiered.check.blobs(content=True) for finding in step.findings]
    assert sorted(broken) == ["blob-damaged", "blob-missing"]


class ArchiveStore(FileStore):
    """A store of a class that can be written, and not read at once."""

    async def get(self, key: BlobKey) -> bytes:
        raise Archived(key=key.hex())

    async def get_range(self, key: BlobKey, start: int, length: int) -> bytes:
        raise Archived(key=key.hex())


async def test_archived_content_is_told(tiered: Storage, fence: Fence, tmp_path: Path) -> None:
    stored = await store_some(tiered, 3)
    await tiered._database.execute(OLDER)
    stores = tiered.shards.home.blobs.stores
    archive = ArchiveStore(tmp_path / "cold")
    cold = Stores(stores.names, {**stores.opened, stores.cold or 0: archive}, stores.hot, stores.cold)
    assert await move_to_cold(Place(tiered._database, cold), fence, age=AGE, limit=10) == 3
    reader = Blobs(tiered._database, cold, inline_limit=0, encoding=PLAIN, cache_bytes=0)
    for key in stored:
        with pytest.raises(Archived) as caught:
            await reader.read(key)
        assert isinstance(caught.value, Unavailable)
        assert "restored" in caught.value.public
    upkeep = BlobUpkeep([Place(tiered._database, cold)], grace=0, cold_after=AGE)
    assert (await upkeep.scrub(fence, 10)).findings == []
    await archive.close()
    await check(tiered, stored)


async def test_readers_and_collectors_meet_movers(tiered: Storage, fence: Fence, tmp_path: Path) -> None:
    """Everything at once and no grace time at all: readers go to where the object went, and nothing is left over."""
    stored = await store_some(tiered, 40)
    going = await store_some(tiered, 40)
    await tiered._database.execute(OLDER)
    await tiered._database.execute("DELETE FROM blob_ref WHERE blob_key = ANY ($1)", list(going))
    place, done = place_of(tiered), asyncio.Event()

    async def move() -> None:
        moved = 0
        while now := await move_to_cold(place, fence, age=AGE, limit=3):
            moved += now
            await sweep(place, fence, grace=0, limit=100)
        done.set()
        assert moved >= len(stored)

    async def collect() -> None:
        await tiered._database.execute(
            "UPDATE blob SET touched_at = now() - interval '1 day' WHERE key = ANY ($1)", list(going)
        )
        while not done.is_set():
            await tiered.blob_upkeep.collect(fence, 2)

    async def read() -> int:
        count = 0
        while not done.is_set():
            for key, content in stored.items():
                assert await tiered.blobs.read(ANN, key) == content
                count += 1
        return count

    *_, first, second = await asyncio.gather(move(), collect(), read(), read())
    assert first + second > len(stored)
    while await tiered.blob_upkeep.collect(fence, 100) or await sweep(place, fence, grace=0, limit=100):
        pass
    await check(tiered, stored)
    for key in going:
        with pytest.raises(BlobNotFound):
            await tiered.blobs.read(ANN, key)
    assert objects(tmp_path) == objects(tmp_path / "cold") == len(stored)


async def test_an_owner_of_the_past_is_stopped_on_every_database(
    databases: Databases, tiered: Storage, fence: Fence, tmp_path: Path
) -> None:
    """The lease is at home; its epoch is what counts in the databases of shards too."""
    places = BlobPlaces({name: FsSettings(tmp_path / name) for name in ("a", "b", "cold")}, ("b",), "cold")
    with databases.fresh() as dsn:
        settings = StorageSettings(dsn=dsn, blobs=places, inline_limit=0, cache_bytes=0, pool_size=2, cold_after=AGE)
        other = await Storage.open(settings)
        stored = await store_some(other, 5)
        await other._database.execute(OLDER)
        everywhere = [place_of(tiered), Place(other._database, other.shards.home.blobs.stores, home=False)]
        upkeep = BlobUpkeep(everywhere, grace=60, cold_after=AGE)
        next_owner = Fence(KEY, Epoch(fence.epoch + 1))
        assert await upkeep.move_to_cold(fence, 2) == 2
        await tiered._database.execute("UPDATE lease SET epoch = epoch + 1")
        assert await upkeep.move_to_cold(next_owner, 1) == 1
        assert await upkeep.move_to_cold(fence, 10) == 0
        assert await upkeep.collect(fence, 10) == 0
        assert await upkeep.move_to_cold(next_owner, 10) == 2
        for key, content in stored.items():
            assert await other.blobs.read(ANN, key) == content
        # Each database names its stores by numbers of its own; what only one of them names is no orphan.
        mine = await store_some(tiered, 5)
        for folder, _, names in os.walk(tmp_path):
            for name in names:
                os.utime(os.path.join(folder, name), (0, 0))  # noqa: PTH118
        ended, orphans = False, 0
        while not ended:
            step = await upkeep.find_orphans(next_owner, 3, age=60, remove=False)
            ended, orphans = step.ended, orphans + len(step.orphans)
        assert orphans == 0
        assert len(mine) == 5
        await other.close()
