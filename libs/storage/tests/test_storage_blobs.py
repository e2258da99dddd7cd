"""Blobs: durable before they are referred to, never removed while they are, never lost to a race (flows.md A.4, E)."""

import asyncio
import mmap
import os
import resource
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.errors import BlobNotFound, Unavailable
from posthorn_model.ids import AccountId, BlobKey, Epoch
from posthorn_model.mail import PreparedBlob
from posthorn_storage import Fence, S3Settings, Storage, StorageSettings
from posthorn_storage.blobs.attach import attach, refer, release
from posthorn_storage.blobs.collect import mark, remove
from posthorn_storage.blobs.content import LZ4, PLAIN, ZSTD, content_key
from posthorn_storage.blobs.file_store import FileStore
from posthorn_storage.blobs.object_names import object_key
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.blobs.stores import alone
from posthorn_storage.codes import REF_ITEM, REF_MESSAGE
from posthorn_storage.database import Connection

pytestmark = pytest.mark.postgres
SMALL = b"Subject: hello\r\n\r\nhello\r\n" * 20
LARGE = os.urandom(50_000)
KEY = "roles/purge"
Touched = "UPDATE blob SET touched_at = now() - interval '1 day' WHERE touched_at IS NOT NULL"


@pytest_asyncio.fixture
async def epoch(storage: Storage) -> Epoch:
    return (await storage.leases.acquire([KEY], "me", 3600))[KEY]


@pytest_asyncio.fixture
async def emptied(storage: Storage, epoch: Epoch, tmp_path: Path) -> AsyncIterator[None]:
    """After the test, letting go of everything must leave neither rows nor objects."""
    yield
    await storage._database.execute("DELETE FROM blob_ref")
    await storage._database.execute("UPDATE blob SET touched_at = now() - interval '1 day'")
    owner = await storage._database.fetchval("SELECT epoch FROM lease WHERE key = $1", KEY)
    while await storage.purge.purge_blobs(Epoch(owner), 100):
        pass
    assert await storage._database.fetchval("SELECT count(*) FROM blob") == 0
    assert stored_objects(tmp_path) == []


def stored_objects(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file())


async def adopt(storage: Storage, blob: PreparedBlob, ref_id: int = 1, account: int = 1) -> None:
    """Refer to a blob as a message would."""

    async def work(connection: Connection) -> None:
        await attach(connection, [blob])
        await refer(connection, REF_MESSAGE, [blob.key], [account], [ref_id])

    await storage._database.run(work)


async def drop(storage: Storage, ref_id: int = 1, account: int = 1) -> None:
    async def work(connection: Connection) -> None:
        await release(connection, REF_MESSAGE, [account], [ref_id])

    await storage._database.run(work)


@pytest.mark.usefixtures("emptied")
@pytest.mark.parametrize("data", [b"", SMALL, LARGE, bytes(1_000_000)])
async def test_what_is_stored_is_read(storage: Storage, data: bytes) -> None:
    blob = await storage.shards.home.blobs.prepare(data)
    assert blob.size == len(data)
    assert len(blob.key) == 32
    await adopt(storage, blob)
    fresh = Blobs(storage._database, storage.shards.home.blobs.stores, inline_limit=0, encoding=PLAIN, cache_bytes=0)
    for reader in (storage.shards.home.blobs, fresh):
        assert await reader.read(blob.key) == data
        assert await reader.read_range(blob.key, 3, 10) == data[3:13]
        assert await reader.read_range(blob.key, len(data), 10) == b""
        assert await reader.read_range(blob.key, 0, len(data) + 10) == data


@pytest.mark.usefixtures("emptied")
async def test_small_blobs_live_in_the_row_and_large_ones_in_the_store(storage: Storage, tmp_path: Path) -> None:
    small, large = await storage.shards.home.blobs.prepare(SMALL), await storage.shards.home.blobs.prepare(LARGE)
    assert small.inline is not None
    assert len(small.inline) < len(SMALL)
    assert large.inline is None
    assert len(stored_objects(tmp_path)) == 1
    assert await storage._database.fetchval("SELECT count(*) FROM blob") == 1
    await adopt(storage, small)
    await adopt(storage, large, 2)
    assert (await storage.shards.home.blobs.prepare(LARGE)).key == large.key
    assert len(stored_objects(tmp_path)) == 1


@pytest.mark.usefixtures("emptied")
async def test_plain_objects_are_read_in_ranges(storage: Storage) -> None:
    plain = Blobs(storage._database, storage.shards.home.blobs.stores, inline_limit=0, encoding=PLAIN, cache_bytes=0)
    key = (await plain.prepare(LARGE)).key
    assert await plain.read_range(key, 100, 1000) == LARGE[100:1100]
    assert await plain.read_range(key, len(LARGE) - 1, 1000) == LARGE[-1:]
    assert await plain.read_range(key, len(LARGE) + 5, 1000) == b""
    # A writer with another encoding follows what the row says.
    assert (await storage.shards.home.blobs.prepare(LARGE)).encoding == PLAIN


@pytest.mark.usefixtures("emptied")
async def test_what_is_warm_needs_no_question(storage: Storage) -> None:
    contents = [SMALL + bytes([number]) for number in range(5)] + [LARGE]
    prepared = [await storage.shards.home.blobs.prepare(content) for content in contents]
    for number, blob in enumerate(prepared):
        await adopt(storage, blob, number + 1)
    reader = Blobs(
        storage._database, storage.shards.home.blobs.stores, inline_limit=0, encoding=PLAIN, cache_bytes=1 << 20
    )
    await reader.warm([*(blob.key for blob in prepared), BlobKey(b"k" * 32)])
    # From here on the database no longer knows them.
    await storage._database.execute("UPDATE blob SET state = 2")
    for content, blob in zip(contents[:5], prepared, strict=False):
        assert await reader.read(blob.key) == content
        assert await reader.read_range(blob.key, 3, 10) == content[3:13]
    with pytest.raises(BlobNotFound):
        await reader.read(prepared[5].key)
    await storage._database.execute("UPDATE blob SET state = 1")


@pytest.mark.usefixtures("emptied")
async def test_reads_are_counted_by_where_they_were_served_from(storage: Storage) -> None:
    small, large = [await storage.shards.home.blobs.prepare(content) for content in (SMALL, LARGE)]
    for number, blob in enumerate((small, large)):
        await adopt(storage, blob, number + 1)
    before = storage.blobs.served()
    for blob in (small, large, small, large):
        await storage.shards.home.blobs.read(blob.key)
    now = storage.blobs.served()
    assert {place: now[place] - before[place] for place in now} == {"memory": 2, "disk": 0, "database": 1, "store": 1}


async def test_unknown_blobs(storage: Storage) -> None:
    for read in (
        storage.shards.home.blobs.read(BlobKey(b"k" * 32)),
        storage.shards.home.blobs.read_range(BlobKey(b"k" * 32), 0, 1),
    ):
        with pytest.raises(BlobNotFound):
            await read
    with pytest.raises(Unavailable) as caught:
        await adopt(storage, PreparedBlob(BlobKey(b"k" * 32), 1, None, 0))
    assert caught.value.fields["step"] == "attach"


@pytest.mark.usefixtures("emptied")
@pytest.mark.parametrize("encoding", [PLAIN, ZSTD, LZ4])
async def test_a_large_file_is_stored_without_being_held(storage: Storage, tmp_path: Path, encoding: int) -> None:
    """A spool file that is mapped into memory: beside it there is no more than its stored form."""
    size = 16_000_000
    (tmp_path / "spool").write_bytes(os.urandom(size))
    stores = storage.shards.home.blobs.stores
    blobs = Blobs(storage._database, stores, inline_limit=0, encoding=encoding, cache_bytes=0)
    with (
        (tmp_path / "spool").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        tracemalloc.start()
        try:
            blob = await blobs.prepare(view)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < (0.1 if encoding == PLAIN else 1.5) * size
    assert await blobs.read(blob.key) == (tmp_path / "spool").read_bytes()
    (tmp_path / "spool").unlink()


@pytest.mark.usefixtures("emptied")
async def test_a_full_disk_refuses_and_leaves_nothing_to_refer_to(storage: Storage, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    blobs = Blobs(storage._database, storage.shards.home.blobs.stores, inline_limit=0, encoding=PLAIN, cache_bytes=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(Unavailable):
            await blobs.prepare(data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(Unavailable):
        await adopt(storage, PreparedBlob(content_key(data), len(data), None, PLAIN))
    assert stored_objects(tmp_path) == []
    # With room again the same content is stored under the same key.
    await adopt(storage, await blobs.prepare(data))
    assert await blobs.read(content_key(data)) == data


@pytest.mark.usefixtures("emptied")
async def test_a_cancelled_upload_is_as_if_it_had_not_begun(storage: Storage, tmp_path: Path) -> None:
    data = os.urandom(2_000_000)
    for turns in range(12):
        task = asyncio.create_task(storage.blobs.upload(AccountId(1), data))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    key = await storage.blobs.upload(AccountId(1), data)
    assert await storage.blobs.read(AccountId(1), key) == data
    assert [finding async for step in storage.check.blobs(content=True) for finding in step.findings] == []


@pytest.mark.usefixtures("emptied")
async def test_many_writers_of_equal_content_share_one_row(storage: Storage) -> None:
    async def write(number: int) -> BlobKey:
        blob = await storage.shards.home.blobs.prepare(SMALL if number % 2 else LARGE)
        await adopt(storage, blob, number)
        return blob.key

    keys = await asyncio.gather(*(write(number) for number in range(30)))
    assert len(set(keys)) == 2
    assert await storage._database.fetchval("SELECT count(*) FROM blob WHERE state = 1") == 2
    assert await storage._database.fetchval("SELECT count(*) FROM blob_ref") == 30


@pytest.mark.usefixtures("emptied")
async def test_uploads_belong_to_their_account_until_they_expire(storage: Storage, epoch: Epoch) -> None:
    ann, bob = AccountId(1), AccountId(2)
    key = await storage.shards.home.blobs.upload(ann, SMALL, "text/plain")
    assert await storage.shards.home.blobs.upload(ann, SMALL, "text/plain") == key
    assert await storage.shards.home.blobs.find(ann, key) == len(SMALL)
    assert await storage.shards.home.blobs.may_read(ann, key)
    assert not await storage.shards.home.blobs.may_read(bob, key)
    assert await storage.purge.purge_uploads(10) == 0
    kept = await storage.shards.home.blobs.prepare(LARGE, account=bob, ttl=60)
    assert await storage.shards.home.blobs.may_read(bob, kept.key)
    await storage._database.execute("UPDATE blob_ref SET expires_at = now() - interval '1 second'")
    assert not await storage.shards.home.blobs.may_read(ann, key)
    assert await storage.purge.purge_uploads(10) == 2
    assert await storage.purge.purge_blobs(epoch, 10) == 0
    await storage._database.execute(Touched)
    assert await storage.purge.purge_blobs(epoch, 10) == 2


@pytest.mark.usefixtures("emptied")
@pytest.mark.parametrize("data", [SMALL, LARGE])
async def test_only_what_nothing_refers_to_is_collected(storage: Storage, epoch: Epoch, data: bytes) -> None:
    blob = await storage.shards.home.blobs.prepare(data)
    await adopt(storage, blob, 1)
    await adopt(storage, blob, 2)
    await drop(storage, 1)
    await storage._database.execute(Touched)
    assert await storage.purge.purge_blobs(epoch, 10) == 0
    assert await storage._database.fetchval("SELECT touched_at FROM blob") is None
    await drop(storage, 2)
    assert await storage.purge.purge_blobs(epoch, 10) == 0, "within the grace time"
    await storage._database.execute(Touched)
    assert await storage.purge.purge_blobs(Epoch(epoch + 1), 10) == 0, "under another epoch"
    assert await storage.purge.purge_blobs(epoch, 10) == 1
    storage.shards.home.blobs._reader._cache._held.clear()
    with pytest.raises(BlobNotFound):
        await storage.shards.home.blobs.read(blob.key)


@pytest.mark.parametrize(
    ("passing", "listed", "written"),
    [
        (True, "now() + interval '1 hour'", False),
        (True, "now() - interval '2 hours'", True),
        (True, "NULL", True),
        (False, "NULL", True),
    ],
)
async def test_what_is_let_go_of_is_on_the_list_and_written_again_only_where_it_must(
    storage: Storage, epoch: Epoch, passing: bool, listed: str, written: bool
) -> None:
    blob = await storage.blobs.prepare(SMALL)

    async def work(connection: Connection) -> None:
        await attach(connection, [blob], passing=passing)
        await refer(connection, REF_MESSAGE, [blob.key], [1], [1])

    await storage._database.run(work)
    assert await storage._database.fetchval("SELECT touched_at IS NOT NULL FROM blob") is passing
    await storage._database.execute(f"UPDATE blob SET touched_at = {listed}")
    place = await storage._database.fetchval("SELECT ctid FROM blob")
    await drop(storage)
    row = await storage._database.fetchrow("SELECT ctid, now() - touched_at < interval '1 hour' AS lately FROM blob")
    assert row is not None
    assert (row["ctid"] != place, row["lately"]) == (written, True)
    assert await storage.purge.purge_blobs(epoch, 100) == 0
    await storage._database.execute(Touched)
    assert await storage.purge.purge_blobs(epoch, 100) == 1


@pytest.mark.usefixtures("emptied")
async def test_the_collector_passes_by_what_a_writer_holds(storage: Storage, epoch: Epoch) -> None:
    blob = await storage.shards.home.blobs.prepare(LARGE)
    await storage._database.execute(Touched)
    async with storage._database.transaction() as connection:
        await attach(connection, [blob])
        assert await storage.purge.purge_blobs(epoch, 10) == 0
        await refer(connection, REF_ITEM, [blob.key], [1], [1])
    assert await storage.purge.purge_blobs(epoch, 10) == 0
    assert await storage.shards.home.blobs.read(blob.key) == LARGE


@pytest.mark.usefixtures("emptied")
async def test_a_writer_never_revives_what_is_being_removed(storage: Storage, epoch: Epoch, tmp_path: Path) -> None:
    first = await storage.shards.home.blobs.prepare(LARGE)
    await storage._database.execute(Touched)
    fence = Fence(KEY, epoch)
    marked, _ = await mark(storage._database, fence, grace=3600, limit=10)
    with pytest.raises(Unavailable):
        await adopt(storage, first)
    second = await storage.shards.home.blobs.prepare(LARGE)
    assert second.key == first.key + b"\x01"
    await adopt(storage, second)
    assert len(stored_objects(tmp_path)) == 2
    for row in marked:
        await storage.shards.home.blobs.stores.of(0).delete(object_key(first.key, row["object"]))
    assert await remove(storage._database, fence, marked) == 1
    assert await storage.shards.home.blobs.read(second.key) == LARGE


@pytest.mark.usefixtures("emptied")
async def test_a_collector_that_wakes_up_late_harms_nobody(storage: Storage, epoch: Epoch) -> None:
    blob = await storage.shards.home.blobs.prepare(LARGE)
    await storage._database.execute(Touched)
    late = Fence(KEY, epoch)
    marked, _ = await mark(storage._database, late, grace=3600, limit=10)
    # Paused here. Another takes the role over, finishes the work, and equal content is stored again.
    await storage._database.execute("UPDATE lease SET until = now()")
    now = (await storage.leases.acquire([KEY], "other", 3600))[KEY]
    assert await storage.purge.purge_blobs(now, 10) == 1
    again = await storage.shards.home.blobs.prepare(LARGE)
    assert again.key == blob.key
    await adopt(storage, again)
    # It wakes up.
    for row in marked:
        await storage.shards.home.blobs.stores.of(0).delete(object_key(blob.key, row["object"]))
    assert await remove(storage._database, late, marked) == 0
    assert await mark(storage._database, late, grace=0, limit=10) == ([], 0)
    storage.shards.home.blobs._reader._cache._held.clear()
    assert await storage.shards.home.blobs.read(again.key) == LARGE


class PausedStore(FileStore):
    """A file store whose next put waits to be let on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def put(self, key: BlobKey, data: bytes) -> None:
        self.reached.set()
        await self.go_on.wait()
        await super().put(key, data)


@pytest.mark.usefixtures("emptied")
async def test_a_writer_paused_beyond_the_grace_time_stores_again(
    storage: Storage, epoch: Epoch, tmp_path: Path
) -> None:
    paused = PausedStore(tmp_path / "blobs")
    blobs = Blobs(storage._database, alone(paused), inline_limit=0, encoding=ZSTD, cache_bytes=0)
    task = asyncio.create_task(blobs.prepare(LARGE))
    await paused.reached.wait()
    await storage._database.execute(Touched)
    assert await storage.purge.purge_blobs(epoch, 10) == 1
    paused.go_on.set()
    blob = await task
    await adopt(storage, blob)
    assert await storage.shards.home.blobs.read(blob.key) == LARGE
    assert len(stored_objects(tmp_path)) == 1
    await paused.close()


@pytest.mark.usefixtures("emptied")
async def test_bytes_at_hand_complete_a_blob_whose_writer_died(storage: Storage, tmp_path: Path) -> None:
    paused = PausedStore(tmp_path / "blobs")
    dying = Blobs(storage._database, alone(paused), inline_limit=0, encoding=ZSTD, cache_bytes=0)
    task = asyncio.create_task(dying.prepare(SMALL))
    await paused.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await paused.close()
    with pytest.raises(BlobNotFound):
        await storage.shards.home.blobs.read((await storage.shards.home.blobs.prepare(SMALL)).key)
    await adopt(storage, await storage.shards.home.blobs.prepare(SMALL))
    assert await storage._database.fetchval("SELECT state FROM blob") == 1
    assert await storage.shards.home.blobs.read((await storage.shards.home.blobs.prepare(SMALL)).key) == SMALL


@pytest.mark.s3
async def test_a_storage_over_s3(postgres_dsn: str, s3: Any) -> None:
    bucket = S3Settings(s3.endpoint, s3.new_bucket(), s3.access_key, s3.secret_key)
    storage = await Storage.open(StorageSettings(dsn=postgres_dsn, blobs=bucket, cache_bytes=0, grace=0))
    assert await storage.probe_blobs() == "S3Store"
    key = (await storage.shards.home.blobs.prepare(LARGE)).key
    assert await storage.shards.home.blobs.read(key) == LARGE
    assert await storage.shards.home.blobs.read_range(key, 5, 5) == LARGE[5:10]
    owner = await storage.leases.acquire([KEY], "me", 60)
    assert await storage.purge.purge_blobs(owner[KEY], 10) == 1
    with pytest.raises(BlobNotFound):
        await storage.shards.home.blobs.read(key)
    await storage.close()
