"""One contract for every object store, run over the file system and a real S3 server."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.errors import BlobNotFound, Unavailable
from posthorn_model.ids import BlobKey
from posthorn_model.ports import ObjectStore
from posthorn_storage import S3Settings
from posthorn_storage.blobs.file_store import FileStore
from posthorn_storage.blobs.no_store import NoStore
from posthorn_storage.blobs.s3_store import S3Store


def fresh_key() -> BlobKey:
    return BlobKey(secrets.token_bytes(40))


def files_under(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def s3_settings(s3: Any) -> S3Settings:
    return S3Settings(
        endpoint=s3.endpoint, bucket=s3.new_bucket(), access_key=s3.access_key, secret_key=s3.secret_key, secure=False
    )


@pytest_asyncio.fixture(params=["files", pytest.param("s3", marks=pytest.mark.s3)])
async def objects(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened: ObjectStore
    if request.param == "files":
        opened = await FileStore.open(tmp_path / "blobs")
    else:
        opened = await S3Store.open(s3_settings(request.getfixturevalue("s3")))
    yield opened
    await opened.close()


@pytest.mark.parametrize("size", [0, 1, 70_000, 6 * 1024 * 1024])
async def test_what_was_put_comes_back(objects: ObjectStore, size: int) -> None:
    key, data = fresh_key(), os.urandom(size)
    await objects.put(key, data)
    assert await objects.get(key) == data
    await objects.put(key, data)
    assert await objects.get(key) == data


async def test_ranges(objects: ObjectStore) -> None:
    key, data = fresh_key(), bytes(range(256)) * 100
    await objects.put(key, data)
    assert await objects.get_range(key, 0, 10) == data[:10]
    assert await objects.get_range(key, 1000, 5000) == data[1000:6000]
    assert await objects.get_range(key, len(data) - 3, 100) == data[-3:]
    assert await objects.get_range(key, 5, 0) == b""


async def test_missing_objects(objects: ObjectStore) -> None:
    key = fresh_key()
    with pytest.raises(BlobNotFound):
        await objects.get(key)
    with pytest.raises(BlobNotFound):
        await objects.get_range(key, 0, 1)
    await objects.delete(key)
    await objects.put(key, b"x")
    await objects.delete(key)
    await objects.delete(key)
    with pytest.raises(BlobNotFound):
        await objects.get(key)


async def test_many_at_once_and_equal_keys(objects: ObjectStore) -> None:
    keys = [fresh_key() for _ in range(20)]
    await asyncio.gather(*(objects.put(key, key * 100) for key in keys for _ in range(3)))
    assert await asyncio.gather(*(objects.get(key) for key in keys)) == [key * 100 for key in keys]


async def test_a_closed_store_is_unavailable(objects: ObjectStore) -> None:
    await objects.probe()
    await objects.close()
    with pytest.raises(Unavailable):
        await objects.put(fresh_key(), b"x")


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


@pytest.mark.parametrize("endpoint", ["127.0.0.1:1", "http://127.0.0.1:1", "nowhere.invalid:9000"])
async def test_an_s3_server_that_is_down_is_unavailable(endpoint: str) -> None:
    settings = S3Settings(endpoint, "bucket", "key", "hunter2", secure=False, timeout=2, attempts=2)
    with pytest.raises(Unavailable) as caught:
        await S3Store.open(settings)
    assert "hunter2" not in repr(settings) + repr(caught.value.fields)


@pytest.mark.parametrize("endpoint", ["", "http://a/b/c", "not a host"])
async def test_wrong_s3_settings_are_told(endpoint: str) -> None:
    with pytest.raises(Unavailable):
        await S3Store.open(S3Settings(endpoint, "bucket", "key", "secret", timeout=2, attempts=1))


ANSWERS = [
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: text/html\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy",
    b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nshort",
    b"rubbish\r\n\r\n",
    b"",
]


async def test_a_server_that_fails_at_first_is_asked_again() -> None:
    """A socket of our own speaks the failures a real server shows only under load."""
    answers = iter([*ANSWERS, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(answers, b""))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    store = S3Store(S3Settings(f"{host}:{port}", "bucket", "key", "secret", secure=False, attempts=len(ANSWERS) + 1))
    assert await store.get(fresh_key()) == b"hello"
    with pytest.raises(Unavailable):
        await store.get(fresh_key())
    await store.close()
    server.close()


@pytest.mark.s3
async def test_the_bucket_must_be_there_or_made(s3: Any) -> None:
    settings = replace(s3_settings(s3), bucket=f"posthorn-{secrets.token_hex(6)}", prefix="a/")
    with pytest.raises(Unavailable):
        await S3Store.open(settings)
    store = await S3Store.open(replace(settings, create_bucket=True))
    await store.put(BlobKey(b"k" * 40), b"x")
    assert await store.get(BlobKey(b"k" * 40)) == b"x"
    await store.close()
    with pytest.raises(Unavailable):
        await S3Store.open(replace(settings, secret_key="wrong"))


async def test_where_no_store_was_named_everything_but_closing_is_refused() -> None:
    store: ObjectStore = NoStore()
    key = fresh_key()
    for use in (store.put(key, b""), store.get(key), store.get_range(key, 0, 1), store.delete(key), store.probe()):
        with pytest.raises(Unavailable):
            await use
    await store.close()
