"""Increments and takes a second of the lookup store, many callers at once; beside the bare client doing the same."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import asyncpg
from redis.asyncio import BlockingConnectionPool, Redis

from bench.runner import Row
from posthorn_model.clock import SystemClock
from posthorn_model.lookup import LookupStore, Take
from posthorn_storage import RedisSettings, Storage, StorageSettings
from posthorn_storage.lookup import Lookup
from posthorn_storage.lookup.local_store import LocalLookup
from posthorn_storage.lookup.memory import MemoryCells
from posthorn_storage.lookup.redis_store import RedisLookup

CALLS = 4_000
CALLERS = 40
CONNECTIONS = 10
KEYS = 1_000
HOUR = 3600.0
BARE_TABLE = "CREATE UNLOGGED TABLE IF NOT EXISTS bare_counter (key text PRIMARY KEY, sum bigint NOT NULL)"
BARE_COUNT = """
INSERT INTO bare_counter AS held (key, sum) VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET sum = held.sum + 1
RETURNING sum
"""
Call = Callable[[str], Awaitable[object]]


async def rate(call: Call) -> float:
    """Calls a second, CALLERS at once, over KEYS keys in turn."""
    keys = [f"k{number}" for number in range(KEYS)]
    turn = count()

    async def caller() -> None:
        for _ in range(CALLS // CALLERS):
            await call(keys[next(turn) % KEYS])

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return CALLS / (time.perf_counter() - begun)


def store_rows(name: str, store: LookupStore, bare: Call | None, bare_name: str) -> list[Row]:
    """Increments and takes of one store, each beside the bare client's increments."""

    async def increments() -> float:
        return await rate(lambda key: store.count(key, HOUR))

    async def takes() -> float:
        return await rate(lambda key: store.take([Take(key, 1_000_000, HOUR)]))

    async def reference() -> float:
        assert bare is not None
        return await rate(bare)

    beside = reference if bare else None
    return [
        Row(f"lookup in {name}: increments", "calls/s", True, increments, beside, bare_name),
        Row(f"lookup in {name}: takes", "calls/s", True, takes, beside, bare_name),
    ]


@asynccontextmanager
async def opened(dsn: str, url: str) -> AsyncIterator[list[Row]]:
    """The rows of every back end: memory, which shows what the port costs, a migrated PostgreSQL, and a Redis."""
    storage = await Storage.open(StorageSettings(dsn=dsn, blobs=None, pool_size=CONNECTIONS))
    clock = SystemClock()
    memory = Lookup(LocalLookup(MemoryCells(), time.monotonic), clock)
    redis = Lookup(RedisLookup(RedisSettings((url,), connections=CONNECTIONS)), clock)
    pool = await asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
    await pool.execute(BARE_TABLE)
    bare_pool = BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS, protocol=2)
    bare = Redis(connection_pool=bare_pool)
    try:
        yield [
            *store_rows("memory", memory, None, ""),
            *store_rows("PostgreSQL", storage.lookup, lambda key: pool.fetchval(BARE_COUNT, key), "bare upsert"),
            *store_rows("Redis", redis, lambda key: bare.incr(f"bare:{key}"), "bare INCR"),
        ]
    finally:
        await redis.close()
        await bare.aclose()
        await bare_pool.disconnect()
        await pool.close()
        await storage.close()
