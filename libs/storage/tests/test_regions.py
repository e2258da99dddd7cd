"""Accounts that may only live in one region, on real databases: where they are placed, and what is refused."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from posthorn_model.errors import NotPermitted, Unavailable
from posthorn_storage import (
    BlobPlaces,
    FsSettings,
    PlacementRules,
    PoolSettings,
    Regions,
    ShardRule,
    ShardSettings,
    Storage,
    StorageSettings,
)
from posthorn_storage.shards.registry import register

if TYPE_CHECKING:
    from posthorn_testkit.databases import Databases

pytestmark = [pytest.mark.postgres, pytest.mark.leaves_rows]
RULES = PlacementRules(
    (ShardRule("paris", weight=1, region="eu"), ShardRule("austin", region="us")),
    "us",
    {"@eu.example.org": "eu", "boss@eu.example.org": "us"},
)


def standing(region: str) -> PoolSettings:
    return PoolSettings(regions=Regions("", region))


@pytest.fixture
def settings(databases: "Databases", tmp_path: Path) -> Iterator[StorageSettings]:
    """A home and a shard in one region, a shard with its own blobs in another."""
    with databases.fresh() as home, databases.fresh() as paris, databases.fresh() as austin:
        yield StorageSettings(
            dsn=home,
            blobs=BlobPlaces({"all": FsSettings(tmp_path / "all"), "eu": FsSettings(tmp_path / "eu")}, ("all",)),
            inline_limit=100,
            pool_size=4,
            pools=standing("us"),
            shards=(
                ShardSettings("paris", paris, standing("eu"), ("eu",)),
                ShardSettings("austin", austin, standing("us")),
            ),
            placement=RULES,
        )


@pytest_asyncio.fixture
async def storage(settings: StorageSettings) -> AsyncIterator[Storage]:
    await register(settings)
    opened = await Storage.open(settings)
    for domain in ("example.org", "eu.example.org"):
        await opened.directory.add_domain(domain)
    try:
        yield opened
    finally:
        await opened.close()


async def place_of(storage: Storage, address: str) -> tuple[str, str]:
    record = await storage.directory.find_account(address)
    return (await storage.shards.of(record.id)).name, record.region


@pytest.mark.parametrize(
    ("address", "region", "shard"),
    [
        ("ann@example.org", "", "paris"),
        ("ann@example.org", "eu", "paris"),
        ("ann@example.org", "us", None),
    ],
)
def test_only_shards_of_the_region_come_into_question(address: str, region: str, shard: str | None) -> None:
    assert RULES.shard_for(address, region) == shard


def test_a_region_without_the_home_is_shared_out_without_weights() -> None:
    rules = PlacementRules((ShardRule("one", region="eu"), ShardRule("two", region="eu"), ShardRule("us", weight=9)))
    found = [rules.shard_for(f"user{number}@example.org", "eu") for number in range(400)]
    assert set(found) == {"one", "two"}
    assert 120 < found.count("one") < 280
    with pytest.raises(NotPermitted, match='no shard of these settings stands in the region "asia"'):
        rules.shard_for("ann@example.org", "asia")


async def test_accounts_are_pinned_by_their_address_or_by_word(storage: Storage) -> None:
    await storage.directory.add_account("ann@eu.example.org", None)
    await storage.directory.add_account("boss@eu.example.org", None)
    await storage.directory.add_account("tom@example.org", None, region="us")
    await storage.directory.add_accounts(
        [("u1@example.org", "password 1"), ("u2@example.org", "password 2")], region="eu"
    )
    assert await place_of(storage, "ann@eu.example.org") == ("paris", "eu")
    assert await place_of(storage, "boss@eu.example.org") == ("postgres", "us")
    assert await place_of(storage, "tom@example.org") == ("postgres", "us")
    assert await place_of(storage, "u2@example.org") == ("paris", "eu")
    with pytest.raises(NotPermitted, match="asia"):
        await storage.directory.add_account("ida@example.org", None, region="asia")


async def test_an_account_is_never_moved_out_of_its_region(storage: Storage) -> None:
    ann = (await storage.directory.add_account("ann@eu.example.org", None)).id
    tom = (await storage.directory.add_account("tom@example.org", None, region="us")).id
    with pytest.raises(NotPermitted, match='pinned to the region "eu", and that shard is in "us"'):
        await storage.moves.move(ann, "austin")
    with pytest.raises(NotPermitted, match='pinned to the region "us"'):
        await storage.moves.move(tom, "paris")
    assert await storage.moves.all() == []
    assert await place_of(storage, "ann@eu.example.org") == ("paris", "eu")
    assert (await storage.moves.move(tom, "austin")).target == "austin"
    assert await place_of(storage, "tom@example.org") == ("austin", "us")


async def test_a_pin_that_comes_while_an_account_is_moved_stops_the_move(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is judged again by the transaction that switches."""
    tom = (await storage.directory.add_account("tom@example.org", None, region="")).id
    source, target = (await storage.shards.of(tom)).name, "austin"
    switch = storage.moves._switch

    async def pinned_just_before(*words: Any) -> None:
        await storage._database.execute("UPDATE account SET region = 'eu' WHERE id = $1", tom)
        await switch(*words)

    monkeypatch.setattr(storage.moves, "_switch", pinned_just_before)
    with pytest.raises(NotPermitted, match='pinned to the region "eu"'):
        await storage.moves.move(tom, target)
    assert await place_of(storage, "tom@example.org") == (source, "eu")
    assert await storage.moves.all() == []


async def test_the_database_judges_where_settings_are_wrong(storage: Storage, settings: StorageSettings) -> None:
    """A node whose settings say nothing of regions, or the wrong thing, places nobody where he may not be."""
    silent = replace(
        settings,
        pools=PoolSettings(),
        shards=tuple(replace(shard, pools=PoolSettings()) for shard in settings.shards),
        placement=PlacementRules((ShardRule("austin", region="eu"),)),
    )
    other = await Storage.open(silent)
    try:
        with pytest.raises(NotPermitted, match='pinned to the region "eu", and that shard is in "us"'):
            await other.directory.add_account("ann@example.org", None, region="eu")
        assert await other.directory.list_accounts() == []
    finally:
        await other.close()
    wrong = replace(settings, pools=standing("eu"))
    with pytest.raises(Unavailable, match='put a shard in the region "eu", the cluster has it in "us"'):
        await Storage.open(wrong)


async def test_a_region_is_changed_only_while_nobody_is_pinned_to_it(
    storage: Storage, settings: StorageSettings
) -> None:
    await storage.directory.add_account("ann@eu.example.org", None)
    paris, austin = settings.shards
    moved = replace(settings, shards=(replace(paris, pools=standing("us")), austin))
    with pytest.raises(NotPermitted, match='accounts pinned to the region "eu" live on a shard'):
        await register(moved)
    await storage.directory.delete_account("ann@eu.example.org")
    await register(moved)
    known = await storage._database.fetchval("SELECT value FROM cluster_setting WHERE name = 'shard_regions'")
    assert json.loads(known) == {"0": "us", "1": "us", "2": "us"}


async def test_a_shard_keeps_its_blobs_in_its_own_store(storage: Storage, tmp_path: Path) -> None:
    content = b"From: a@example.org\r\n\r\n" + bytes(range(32, 127)) * 40
    for address, store, region in (("ann@example.org", "eu", "eu"), ("tom@example.org", "all", "us")):
        account = (await storage.directory.add_account(address, None, region=region)).id
        before = objects(tmp_path)
        await storage.blobs.upload(account, content + region.encode(), "message/rfc822")
        new = objects(tmp_path) - before
        assert {place.relative_to(tmp_path).parts[0] for place in new} == {store}


def objects(folder: Path) -> set[Path]:
    return {place for place in folder.rglob("*") if place.is_file()}
