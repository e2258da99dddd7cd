"""Writers of equal content against collectors without any grace time: what is referred to is never lost (flows.md E).

Every content is stored, referred to and let go of again and again by several processes' worth of writers, while
collectors of the same epoch look at everything that nothing refers to at that moment.
"""

import asyncio
import os
import random
from itertools import count
from pathlib import Path

import pytest

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey, Epoch
from posthorn_model.mail import PreparedBlob
from posthorn_storage import BlobPlaces, Fence, FsSettings, Storage, StorageSettings
from posthorn_storage.blobs.attach import attach, refer, release
from posthorn_storage.blobs.collect import collect
from posthorn_storage.codes import REF_MESSAGE
from posthorn_storage.database import Connection

pytestmark = pytest.mark.postgres
KEY = "roles/purge"
WRITERS, ROUNDS, COLLECTORS = 8, 60, 3
CONTENTS = [os.urandom(size) for size in (40, 40, 20_000, 20_000, 200_000)]
"""Few, so that all writers meet at the same keys; two of them lie in the rows, the others in the object stores."""


async def keep(storage: Storage, data: bytes, account: int, ref_id: int) -> BlobKey:
    """Store and refer as a delivery does: when the blob was collected in between, all over again."""
    while True:
        try:
            blob = await storage.blobs.prepare(data)

            async def work(connection: Connection, blob: PreparedBlob = blob) -> None:
                await attach(connection, [blob], passing=account % 2 == 0)
                await refer(connection, REF_MESSAGE, [blob.key], [account], [ref_id])

            await storage._database.run(work)
        except Unavailable as error:
            assert error.fields["step"] in ("attach", "prepare"), error.fields  # noqa: PT017
            continue
        return blob.key


async def let_go(storage: Storage, account: int, ref_id: int) -> None:
    await storage._database.run(lambda connection: release(connection, REF_MESSAGE, [account], [ref_id]))


async def write(storage: Storage, number: int, enough: asyncio.Event) -> dict[int, tuple[BlobKey, bytes]]:
    """Keep and let go of contents by turns until enough was collected; returns what is still referred to then."""
    chance = random.Random(number)
    held: dict[int, tuple[BlobKey, bytes]] = {}
    for turn in count():
        if turn >= ROUNDS and enough.is_set():
            break
        data = chance.choice(CONTENTS)
        key = await keep(storage, data, number, turn)
        held[turn] = key, data
        assert await storage.blobs.read(None, key) == data
        await asyncio.sleep(chance.random() / 500)
        for old in chance.sample(sorted(held), k=chance.randint(0, len(held))):
            key, data = held.pop(old)
            assert await storage.blobs.read(None, key) == data
            await let_go(storage, number, old)
    return held


async def gather_up(storage: Storage, fence: Fence, enough: asyncio.Event, number: int) -> None:
    """Collect until stopped; `enough` is set once forty blobs went."""
    chance = random.Random(100 + number)
    gone = 0
    while True:
        gone += await collect(storage._database, storage.shards.home.blobs.stores, fence, grace=0, limit=5)
        if gone >= 40:
            enough.set()
        await asyncio.sleep(chance.random() / 100)


async def test_nothing_referred_to_is_lost(postgres_dsn: str, tmp_path: Path) -> None:
    names = ("a", "b")
    places = BlobPlaces({name: FsSettings(tmp_path / name) for name in names}, names)
    settings = StorageSettings(dsn=postgres_dsn, blobs=places, cache_bytes=0, pool_size=10, inline_limit=1000)
    storages = [await Storage.open(settings) for _ in range(2)]
    epoch: Epoch = (await storages[0].leases.acquire([KEY], "me", 3600))[KEY]
    fence, enough = Fence(KEY, epoch), asyncio.Event()
    collectors = [
        asyncio.create_task(gather_up(storages[number % 2], fence, enough, number)) for number in range(COLLECTORS)
    ]
    held = await asyncio.gather(*(write(storages[number % 2], number, enough) for number in range(WRITERS)))
    for collector in collectors:
        collector.cancel()
    for ended in await asyncio.gather(*collectors, return_exceptions=True):
        assert isinstance(ended, asyncio.CancelledError), ended

    for kept in held:
        for key, data in kept.values():
            assert await storages[0].blobs.read(None, key) == data
    rows = await storages[0]._database.fetch("SELECT DISTINCT blob_key FROM blob_ref")
    assert {row["blob_key"] for row in rows} == {key for kept in held for key, _ in kept.values()}
    assert [finding async for step in storages[0].check.blobs(content=True) for finding in step.findings] == []

    # Nothing is left over either: what nothing refers to goes, and then there are as many objects as rows name.
    while await collect(storages[0]._database, storages[0].shards.home.blobs.stores, fence, grace=0, limit=100):
        pass
    assert await storages[0]._database.fetchval("SELECT count(*) FROM blob") == len(rows)
    named = await storages[0]._database.fetchval("SELECT count(*) FROM blob WHERE object IS NOT NULL")
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == named
    for storage in storages:
        await storage.close()
