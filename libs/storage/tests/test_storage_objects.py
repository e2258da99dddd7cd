"""One contract for every object store, run over files, RocksDB and real servers of S3 and Azure."""

import os
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.errors import Unavailable
from posthorn_model.ports import ObjectStore
from posthorn_storage import S3Settings
from posthorn_storage.blobs.azure_store import AzureStore
from posthorn_storage.blobs.file_store import FileStore
from posthorn_storage.blobs.no_store import NoStore
from posthorn_storage.blobs.rocks_store import RocksStore
from posthorn_storage.blobs.s3_store import S3Store
from posthorn_storage.settings import AzureSettings, RocksSettings
from posthorn_testkit.contracts.objects import ObjectStoreContract, fresh_key


def files_under(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def s3_settings(s3: Any) -> S3Settings:
    return S3Settings(
        endpoint=s3.endpoint, bucket=s3.new_bucket(), access_key=s3.access_key, secret_key=s3.secret_key, secure=False
    )


def azure_settings(azure: Any) -> AzureSettings:
    return AzureSettings(
        azure.account, azure.new_container(), azure.access_key, endpoint=azure.endpoint, create_container=True
    )


class TestFiles(ObjectStoreContract):
    @pytest_asyncio.fixture
    async def objects(self, tmp_path: Path) -> AsyncIterator[ObjectStore]:
        store = await FileStore.open(tmp_path / "blobs")
        yield store
        await store.close()


@pytest.mark.s3
class TestS3(ObjectStoreContract):
    @pytest_asyncio.fixture
    async def objects(self, s3: Any) -> AsyncIterator[ObjectStore]:
        store = await S3Store.open(s3_settings(s3))
        yield store
        await store.close()


class TestRocks(ObjectStoreContract):
    @pytest_asyncio.fixture
    async def objects(self, tmp_path: Path) -> AsyncIterator[ObjectStore]:
        store = await RocksStore.open(RocksSettings(tmp_path / "rocks", compression="lz4"))
        yield store
        await store.close()


@pytest.mark.azure
class TestAzure(ObjectStoreContract):
    @pytest_asyncio.fixture
    async def objects(self, azure: Any) -> AsyncIterator[ObjectStore]:
        store = await AzureStore.open(azure_settings(azure))
        yield store
        await store.close()


@pytest.mark.s3
async def test_what_is_put_is_not_copied(s3: Any, tmp_path: Path) -> None:
    data = memoryview(os.urandom(16_000_000))
    for store in (await S3Store.open(s3_settings(s3)), await FileStore.open(tmp_path)):
        key = fresh_key()
        tracemalloc.start()
        try:
            await store.put(key, data)
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()
        assert await store.get(key) == data
        await store.close()


async def test_files_are_whole_or_absent(tmp_path: Path) -> None:
    store = await FileStore.open(tmp_path)
    key = fresh_key()
    await store.put(key, b"x" * 1000)
    assert files_under(tmp_path) == [key.hex()]
    left = tmp_path / "tmp" / "left"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    (tmp_path / "tmp" / "young").write_bytes(b"half")
    await store.close()
    await (await FileStore.open(tmp_path)).close()
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == ["young"]


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        await FileStore.open(tmp_path / "file" / "blobs")
    store = await FileStore.open(tmp_path / "blobs")
    (tmp_path / "blobs" / "tmp").rmdir()
    with pytest.raises(Unavailable):
        await store.put(fresh_key(), b"x")
    with pytest.raises(Unavailable):
        await store.probe()
    await store.close()


async def test_where_no_store_was_named_everything_but_closing_is_refused() -> None:
    store: ObjectStore = NoStore()
    key = fresh_key()
    for use in (store.put(key, b""), store.get(key), store.get_range(key, 0, 1), store.delete(key), store.probe()):
        with pytest.raises(Unavailable):
            await use
    await store.close()
