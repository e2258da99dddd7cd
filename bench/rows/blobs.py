"""Puts and gets of blobs in S3, many at once, beside the bare minio client doing the same; and ranges of a large one.

The rows are calls a second, and CPU milliseconds of this process for each call: the server is a process of its own.
"""

import asyncio
import base64
import io
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import TypeVar

import urllib3
from minio import Minio

from bench.runner import Row
from posthorn_model.ids import AccountId, BlobKey
from posthorn_storage import S3Settings, Storage, StorageSettings
from posthorn_storage.blobs.s3_store import S3Store
from posthorn_testkit.servers import S3

CALLS = 400
CONNECTIONS = 16
SIZE = 50_000
"""Octets of a message that does not compress: what the store is asked for is what is sent."""
RANGES = 100
ANN = AccountId(1)
Call = Callable[[], Awaitable[object]]
T = TypeVar("T")


async def rate(call: Call, calls: int = CALLS) -> float:
    """Calls a second, twice as many at once as there are connections."""
    begun = time.perf_counter()
    await _many(call, calls)
    return calls / (time.perf_counter() - begun)


async def cpu(call: Call, calls: int = CALLS) -> float:
    """CPU milliseconds of this process for each call."""
    begun = time.process_time()
    await _many(call, calls)
    return (time.process_time() - begun) / calls * 1000


async def _many(call: Call, calls: int) -> None:
    left = iter(range(calls))

    async def caller() -> None:
        for _ in left:
            await call()

    await asyncio.gather(*(caller() for _ in range(2 * CONNECTIONS)))


class BareS3:
    """The minio client in as many threads as there are connections, with nothing around it."""

    def __init__(self, s3: S3, bucket: str) -> None:
        host = s3.endpoint.removeprefix("http://")
        self._http = urllib3.PoolManager(maxsize=CONNECTIONS)
        self._client = Minio(
            host,
            access_key=s3.access_key,
            secret_key=s3.secret_key,
            secure=False,
            region=s3.region,
            http_client=self._http,
        )
        self._bucket = bucket
        self._threads = ThreadPoolExecutor(CONNECTIONS)

    async def put(self, name: str, data: bytes) -> None:
        await self._run(lambda: self._client.put_object(self._bucket, name, io.BytesIO(data), len(data)))

    async def get(self, name: str) -> bytes:
        def read() -> bytes:
            response = self._client.get_object(self._bucket, name)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

        return await self._run(read)

    def close(self) -> None:
        self._threads.shutdown()
        self._http.clear()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def store_rows(store: S3Store, bare: BareS3, keys: list[BlobKey]) -> list[Row]:
    """The object store alone: what bounded threads, retries and limits cost."""
    data, turn = os.urandom(SIZE), count()

    async def put() -> None:
        await store.put(BlobKey(os.urandom(40)), data)

    async def bare_put() -> None:
        await bare.put(os.urandom(40).hex(), data)

    async def get() -> None:
        await store.get(keys[next(turn) % len(keys)])

    async def bare_get() -> None:
        await bare.get(f"bare{next(turn) % len(keys)}")

    return [*_both("S3 put of 50 KB", put, bare_put), *_both("S3 get of 50 KB", get, bare_get)]


def blob_rows(storage: Storage, bare: BareS3, keys: list[BlobKey]) -> list[Row]:
    """The same with the rows in the database, the hash and its check, and compression that finds nothing to do."""
    turn = count()

    async def upload() -> None:
        await storage.blobs.upload(ANN, os.urandom(SIZE))

    async def bare_put() -> None:
        await bare.put(os.urandom(40).hex(), os.urandom(SIZE))

    async def read() -> None:
        await storage.blobs.read(ANN, keys[next(turn) % len(keys)])

    async def bare_get() -> None:
        await bare.get(f"bare{next(turn) % len(keys)}")

    return [*_both("blob stored, 50 KB", upload, bare_put), *_both("blob read, 50 KB", read, bare_get)]


def range_row(storage: Storage, key: BlobKey, size: int) -> Row:
    """A range of a large message, beside the whole of it."""
    turn = count()

    async def part() -> float:
        return await rate(
            lambda: storage.blobs.read_range(ANN, key, next(turn) * 333_333 % (size - 64_000), 64_000), RANGES
        )

    async def whole() -> float:
        return await rate(lambda: storage.blobs.read(ANN, key), 20)

    return Row("64 KB of a 30 MB message", "reads/s", True, part, whole, "the whole message")


def _both(name: str, call: Call, bare: Call) -> list[Row]:
    return [
        Row(name, "calls/s", True, lambda: rate(call), lambda: rate(bare), "bare minio"),
        Row(f"{name}: CPU", "ms/call", False, lambda: cpu(call), lambda: cpu(bare), "bare minio"),
    ]


@asynccontextmanager
async def opened(dsn: str, s3: S3) -> AsyncIterator[list[Row]]:
    """The rows over a migrated database and buckets of their own."""
    settings = S3Settings(
        s3.endpoint, s3.new_bucket(), s3.access_key, s3.secret_key, s3.region, connections=CONNECTIONS
    )
    storage = await Storage.open(StorageSettings(dsn=dsn, blobs=settings, cache_bytes=0, inline_limit=0))
    store = await S3Store.open(replace(settings, bucket=s3.new_bucket()))
    bare = BareS3(s3, s3.new_bucket())
    try:
        stored = [BlobKey(os.urandom(40)) for _ in range(200)]
        for number, key in enumerate(stored):
            await store.put(key, os.urandom(SIZE))
            await bare.put(f"bare{number}", os.urandom(SIZE))
        blobs = [await storage.blobs.upload(ANN, os.urandom(SIZE)) for _ in range(200)]
        message = base64.encodebytes(os.urandom(22_000_000))
        large = await storage.blobs.upload(ANN, message)
        yield [
            *store_rows(store, bare, stored),
            *blob_rows(storage, bare, blobs),
            range_row(storage, large, len(message)),
        ]
    finally:
        bare.close()
        await store.close()
        await storage.close()
