"""Every back end of the lookup store keeps the contract of the port."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.clock import SystemClock
from posthorn_model.lookup import Take
from posthorn_storage import RedisSettings, Storage
from posthorn_storage.lookup import Lookup
from posthorn_storage.lookup.local_store import LocalLookup
from posthorn_storage.lookup.memory import MemoryCells
from posthorn_storage.lookup.postgres_store import PostgresLookup
from posthorn_storage.lookup.redis_store import RedisLookup
from posthorn_testkit.contracts.lookup import LONG, SHORT, LookupContract, until
from posthorn_testkit.redis_servers import RedisCluster, RedisServer, SentinelSet

PATIENCE = 60.0
"""Seconds for a call and for each reply: what a server does is asked here, and not how soon on this machine."""


def own() -> dict[str, Any]:
    """Settings of a store that no other test sees."""
    return {"prefix": f"{token_hex(4)}:", "timeout": PATIENCE}


@asynccontextmanager
async def opened(settings: RedisSettings) -> AsyncIterator[Lookup]:
    lookup = Lookup(RedisLookup(settings), SystemClock(), call_seconds=PATIENCE)
    yield lookup
    await lookup.close()


@pytest.mark.postgres
class TestPostgres(LookupContract):
    @pytest_asyncio.fixture
    async def lookup(self, storage: Storage) -> Lookup:
        return Lookup(PostgresLookup(storage._database), SystemClock(), call_seconds=PATIENCE)

    async def test_what_has_ended_is_purged_in_steps(self, storage: Storage, lookup: Lookup) -> None:
        await asyncio.gather(*(lookup.count(f"c{number}", SHORT) for number in range(3)))
        await lookup.take([Take("l", 5, SHORT), Take("kept", 5, LONG)])
        await lookup.put({"v": b"", "kept": b""}, SHORT)
        await lookup.put({"kept": b""}, LONG)
        await lookup.join("s", "m", SHORT, 1)
        gone = [0]

        async def all_gone() -> bool:
            gone.append(await storage.purge.purge_lookups(2))
            return sum(gone) == 6

        await until(all_gone, "six rows end")
        assert max(gone) <= 2
        assert await storage.purge.purge_lookups(100) == 0
        assert await lookup.get(["kept"]) == {"kept": b""}
        assert not (await lookup.take([Take("kept", 5, LONG, 5)]))[0].allowed


class TestMemory(LookupContract):
    @pytest_asyncio.fixture
    async def lookup(self) -> AsyncIterator[Lookup]:
        store = Lookup(LocalLookup(MemoryCells(), time.monotonic), SystemClock(), call_seconds=PATIENCE)
        yield store
        await store.close()

    async def test_what_was_written_longest_ago_goes_first(self) -> None:
        lookup = Lookup(LocalLookup(MemoryCells(3), time.monotonic), SystemClock())
        await lookup.put({"a": b"1", "b": b"2", "c": b"3"}, LONG)
        await lookup.put({"a": b"4"}, LONG)
        await lookup.count("d", LONG)
        assert await lookup.get(["a", "b", "c"]) == {"a": b"4", "c": b"3"}
        assert await lookup.counts(["d"]) == {"d": 1}


@pytest.mark.redis
class TestRedis(LookupContract):
    @pytest_asyncio.fixture
    async def lookup(self, redis_server: RedisServer) -> AsyncIterator[Lookup]:
        async with opened(RedisSettings((redis_server.url,), **own())) as lookup:
            yield lookup


@pytest.mark.redis
class TestRedisSentinel(LookupContract):
    @pytest_asyncio.fixture
    async def lookup(self, redis_sentinels: SentinelSet) -> AsyncIterator[Lookup]:
        async with opened(RedisSettings(redis_sentinels.urls, sentinel_master=redis_sentinels.name, **own())) as lookup:
            yield lookup


@pytest.mark.redis
class TestRedisCluster(LookupContract):
    @pytest_asyncio.fixture
    async def lookup(self, redis_cluster: RedisCluster) -> AsyncIterator[Lookup]:
        async with opened(RedisSettings(redis_cluster.urls[:2], cluster=True, **own())) as lookup:
            yield lookup
