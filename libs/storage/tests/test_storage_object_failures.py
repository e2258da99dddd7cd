"""What object stores do when their server, the way to it or the disk fails: a clear error, and nothing half-written."""

import asyncio
import os
import resource
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from posthorn_model.errors import Archived, BlobNotFound, Overloaded, Unavailable
from posthorn_model.ids import BlobKey
from posthorn_storage import S3Settings
from posthorn_storage.blobs.azure_store import AzureStore
from posthorn_storage.blobs.file_store import FileStore
from posthorn_storage.blobs.opening import open_store
from posthorn_storage.blobs.rocks_store import RocksStore
from posthorn_storage.blobs.s3_store import S3Store
from posthorn_storage.settings import AzureSettings, RocksSettings
from posthorn_testkit.contracts.objects import fresh_key


def s3_settings(s3: Any) -> S3Settings:
    return S3Settings(
        endpoint=s3.endpoint, bucket=s3.new_bucket(), access_key=s3.access_key, secret_key=s3.secret_key, secure=False
    )


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


@dataclass
class Wire:
    """The way to a server: what goes to it passes `change`; None cuts the connection."""

    endpoint: str
    change: Callable[[bytes], bytes | None]
    sent: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def wire_to(endpoint: str) -> AsyncIterator[Wire]:
    target = urlsplit(endpoint)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, inward: bool) -> None:
        while data := await reader.read(65536):
            if inward:
                wire.sent += data
                changed = wire.change(data)
                if changed is None:
                    break
                data = changed
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(target.hostname, target.port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pass_on(reader, to_writer, inward=True))
                group.create_task(pass_on(to_reader, writer, inward=False))
        except* OSError:
            pass
        finally:
            writer.close()
            to_writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    wire = Wire(f"http://{host}:{port}", lambda data: data)
    yield wire
    server.close()


@pytest.mark.s3
async def test_a_put_that_is_cut_off_leaves_nothing(s3: Any) -> None:
    settings = replace(s3_settings(s3), attempts=2, timeout=10)
    direct = await S3Store.open(settings)
    async with wire_to(s3.endpoint) as wire:
        store = await S3Store.open(replace(settings, endpoint=wire.endpoint))
        key, data = fresh_key(), os.urandom(3_000_000)
        wire.change = lambda chunk: chunk if len(wire.sent) < 1_000_000 else None
        with pytest.raises(Unavailable):
            await store.put(key, data)
        with pytest.raises(BlobNotFound):
            await direct.get(key)
        wire.change = lambda chunk: chunk
        await store.put(key, data)
        assert await direct.get(key) == data
        await store.close()
    await direct.close()


@pytest.mark.s3
async def test_what_is_damaged_on_the_way_is_refused(s3: Any) -> None:
    settings = replace(s3_settings(s3), attempts=2)
    direct = await S3Store.open(settings)
    async with wire_to(s3.endpoint) as wire:
        store = await S3Store.open(replace(settings, endpoint=wire.endpoint))
        key, data = fresh_key(), b"content " * 10_000
        wire.change = lambda chunk: chunk.replace(b"content", b"CONTENT", 1)
        with pytest.raises(Unavailable):
            await store.put(key, data)
        with pytest.raises(BlobNotFound):
            await direct.get(key)
        await store.close()
    await direct.close()


@pytest.mark.s3
async def test_the_storage_class_is_asked_for(s3: Any) -> None:
    settings = s3_settings(s3)
    async with wire_to(s3.endpoint) as wire:
        for storage_class, asked in (("STANDARD_IA", True), ("", False)):
            store = await S3Store.open(replace(settings, endpoint=wire.endpoint, storage_class=storage_class))
            wire.sent.clear()
            await store.put(fresh_key(), b"x")
            assert (b"x-amz-storage-class: STANDARD_IA\r\n" in bytes(wire.sent)) == asked
            await store.close()


@pytest.mark.s3
async def test_a_bucket_without_permission_is_told_at_once(s3: Any) -> None:
    settings = s3_settings(s3)
    allowed = await S3Store.open(settings)
    key = fresh_key()
    await allowed.put(key, b"x")
    nobody = S3Store(replace(settings, access_key="", secret_key=""))
    uses = (nobody.put(key, b"y"), nobody.get(key), nobody.delete(key), nobody.list("", 10), nobody.probe())
    for use in uses:
        with pytest.raises(Unavailable) as caught:
            await use
        assert "AccessDenied" in str(caught.value.fields)
    assert await allowed.get(key) == b"x"
    await nobody.close()
    await allowed.close()


def answer_of(status: str, code: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


@pytest.mark.parametrize(
    ("status", "code", "error", "asked"),
    [
        ("403 Forbidden", "InvalidObjectState", Archived, 1),
        ("403 Forbidden", "AccessDenied", Unavailable, 1),
        ("404 Not Found", "NoSuchBucket", Unavailable, 1),
        ("404 Not Found", "NoSuchKey", BlobNotFound, 1),
        ("503 Slow Down", "SlowDown", Unavailable, 3),
        ("500 Internal Server Error", "InternalError", Unavailable, 3),
    ],
)
async def test_refusals_are_final_and_throttling_is_not(
    status: str, code: str, error: type[Exception], asked: int
) -> None:
    requests = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        writer.write(answer_of(status, code))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    store = S3Store(S3Settings(f"{host}:{port}", "bucket", "key", "secret", secure=False, attempts=3))
    with pytest.raises(error):
        await store.get(fresh_key())
    assert requests == asked
    await store.close()
    server.close()


async def test_more_requests_than_may_wait_are_refused() -> None:
    """A server that never answers: what is above the bound is refused at once, and what waits ends with the store."""
    stuck = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stuck.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    settings = S3Settings(f"{host}:{port}", "b12", "key", "secret", secure=False, attempts=1, timeout=2, connections=2)
    store = S3Store(settings)
    results = await asyncio.gather(*(store.get(fresh_key()) for _ in range(600)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert len(refused) == 600 - 512
    assert all(isinstance(result, Unavailable) for result in results)
    await store.close()
    stuck.set()
    server.close()


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes: a write fails as it does where no space is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    store = await FileStore.open(tmp_path)
    key, data = fresh_key(), os.urandom(2_000_000)
    with full_disk(1_000_000):
        with pytest.raises(Unavailable):
            await store.put(key, data)
        await store.put(fresh_key(), b"small")
    with pytest.raises(BlobNotFound):
        await store.get(key)
    assert list((tmp_path / "tmp").iterdir()) == []
    await store.put(key, data)
    assert await store.get(key) == data
    await store.close()


async def test_a_folder_of_rocksdb_has_one_process(tmp_path: Path) -> None:
    settings = RocksSettings(tmp_path, for_reads=True, for_writes=True)
    store = await RocksStore.open(settings)
    key = fresh_key()
    await store.put(key, b"x" * 10_000)
    with pytest.raises(Unavailable, match="another process"):
        await RocksStore.open(settings)
    program = f"""
import asyncio, pathlib
from posthorn_storage.blobs.rocks_store import RocksStore
from posthorn_storage.settings import RocksSettings
asyncio.run(RocksStore.open(RocksSettings(pathlib.Path({str(tmp_path)!r}))))
"""
    other = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "another process has the blob store's folder open" in other.stderr
    await store.close()
    store = await RocksStore.open(settings)
    assert await store.get(key) == b"x" * 10_000
    await store.close()


async def test_a_folder_that_is_no_rocksdb_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        await RocksStore.open(RocksSettings(tmp_path / "file"))


@pytest.mark.azure
async def test_the_container_must_be_there_or_made(azure: Any) -> None:
    settings = AzureSettings(
        azure.account, f"posthorn-{secrets.token_hex(6)}", azure.access_key, endpoint=azure.endpoint, prefix="a/"
    )
    with pytest.raises(Unavailable):
        await AzureStore.open(settings)
    store = await AzureStore.open(replace(settings, create_container=True))
    key = fresh_key()
    await store.put(key, b"x")
    assert await store.get(key) == b"x"
    assert [found.key for found in (await store.list("", 10)).objects] == [key]
    await store.close()
    with pytest.raises(Unavailable):
        await AzureStore.open(replace(settings, access_key="d3Jvbmc="))
    assert azure.access_key not in repr(settings)


@pytest.mark.azure
async def test_archived_blobs_of_azure_are_told(azure: Any) -> None:
    settings = AzureSettings(
        azure.account, azure.new_container(), azure.access_key, endpoint=azure.endpoint, storage_class="Archive"
    )
    store = await AzureStore.open(settings)
    key = fresh_key()
    await store.put(key, b"x")
    with pytest.raises(Archived):
        await store.get(key)
    await store.delete(key)
    await store.close()


async def test_an_azure_server_that_is_down_is_unavailable() -> None:
    settings = AzureSettings("account", "container", "c2VjcmV0", endpoint="http://127.0.0.1:1/account", attempts=2)
    with pytest.raises(Unavailable):
        await open_store(settings)
