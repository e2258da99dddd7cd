"""Coordinators that are down at the start, answer no more, or lose their data: the same for every kind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest

from posthorn_bus import BroadcastTimes, BusSettings, KafkaSettings, NatsSettings, PeerSettings, RedisSettings, Server
from posthorn_model.errors import Unavailable
from posthorn_model.ports import Peer, PeerDirectory
from posthorn_storage.database import Database
from posthorn_testkit.contracts.fleet import SHARDS
from posthorn_testkit.contracts.outage import OutageContract, OutageFleet
from posthorn_testkit.nats_servers import NatsServer
from posthorn_testkit.redis_servers import RedisServer
from posthorn_testkit.servers import KafkaBroker

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

TIMES = BroadcastTimes(beat=0.2, silence=1.5)


class ServerFleet(OutageFleet):
    """Over one NATS or Redis server, which keeps nothing: to start it again is to lose all it had."""

    def __init__(self, database: Database, dsn: str, server: NatsServer | RedisServer) -> None:
        super().__init__(database, dsn)
        self._server = server
        prefix = f"test-{uuid4().hex[:8]}"
        self._settings: BusSettings = (
            NatsSettings((server.address,), prefix=prefix, times=TIMES)
            if isinstance(server, NatsServer)
            else RedisSettings((Server("127.0.0.1", server.port),), prefix=prefix, times=TIMES)
        )

    def settings(self) -> BusSettings:
        return self._settings

    async def stop(self) -> None:
        self._server.kill()

    async def start(self) -> None:
        if self._server.process is None:
            self._server.start()

    async def pause(self) -> None:
        self._server.pause()

    async def resume(self) -> None:
        self._server.resume()

    async def forget(self) -> None:
        self._server.kill()
        self._server.start()


class BrokerFleet(OutageFleet):
    """Over one Kafka broker."""

    def __init__(self, database: Database, dsn: str, broker: KafkaBroker) -> None:
        super().__init__(database, dsn)
        self._broker = broker
        self._settings = KafkaSettings(
            (broker.servers,), prefix=f"test-{uuid4().hex[:8]}", queue_partitions=len(SHARDS), change_partitions=3
        )

    def settings(self) -> BusSettings:
        return self._settings

    async def stop(self) -> None:
        await self._broker.kill()

    async def start(self) -> None:
        await self._broker.start()

    async def pause(self) -> None:
        self._broker.pause()

    async def resume(self) -> None:
        self._broker.resume()

    async def forget(self) -> None:
        await self._broker.kill()
        await self._broker.forget()
        await self._broker.start()


class Gate:
    """The real node table, reached through a gate that a test shuts."""

    def __init__(self, table: PeerDirectory, way: "Way") -> None:
        self._table = table
        self._way = way

    async def live_peers(self) -> Sequence[Peer]:
        await self._way.pass_through()
        return await self._table.live_peers()

    async def announce(self, address: Mapping[str, Any]) -> None:
        await self._way.pass_through()
        await self._table.announce(address)


class Way:
    """To the database, for the buses of one fleet."""

    def __init__(self) -> None:
        self.broken = False
        self.open = asyncio.Event()
        self.open.set()

    async def pass_through(self) -> None:
        if self.broken:
            raise Unavailable
        await self.open.wait()


class TableFleet(OutageFleet):
    """From peer to peer: what coordinates is the node table. Events go from process to process without it."""

    gaps = False

    def __init__(self, database: Database, dsn: str) -> None:
        super().__init__(database, dsn)
        self._way = Way()

    def settings(self) -> BusSettings:
        return PeerSettings(secret="the secret of this cluster", heartbeat=0.3, refresh=0.5, silence=2.0)

    def peers(self, boot: str) -> PeerDirectory:
        return Gate(super().peers(boot), self._way)

    async def stop(self) -> None:
        self._way.broken = True

    async def start(self) -> None:
        self._way.broken = False

    async def pause(self) -> None:
        self._way.open.clear()

    async def resume(self) -> None:
        self._way.open.set()

    async def forget(self) -> None:
        """Every row is gone; the next heartbeats write them anew, without the addresses."""
        await self.database.execute("DELETE FROM process")


@contextlib.asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Database]:
    database = await Database.open(dsn)
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def closing(fleet: OutageFleet) -> AsyncIterator[OutageFleet]:
    try:
        yield fleet
    finally:
        await fleet.resume()
        await fleet.start()
        await fleet.close()


@pytest.mark.nats
class TestNatsOutage(OutageContract):
    @pytest.fixture
    async def fleet(self, postgres_dsn: str, nats_server: NatsServer) -> AsyncIterator[OutageFleet]:
        async with opened(postgres_dsn) as database, closing(ServerFleet(database, postgres_dsn, nats_server)) as fleet:
            yield fleet


@pytest.mark.redis
class TestRedisOutage(OutageContract):
    @pytest.fixture
    async def fleet(self, postgres_dsn: str, redis_server: RedisServer) -> AsyncIterator[OutageFleet]:
        async with (
            opened(postgres_dsn) as database,
            closing(ServerFleet(database, postgres_dsn, redis_server)) as fleet,
        ):
            yield fleet


@pytest.mark.kafka
class TestKafkaOutage(OutageContract):
    @pytest.fixture
    async def fleet(self, postgres_dsn: str, kafka_broker: KafkaBroker) -> AsyncIterator[OutageFleet]:
        async with (
            opened(postgres_dsn) as database,
            closing(BrokerFleet(database, postgres_dsn, kafka_broker)) as fleet,
        ):
            yield fleet


class TestPeerOutage(OutageContract):
    @pytest.fixture
    async def fleet(self, postgres_dsn: str) -> AsyncIterator[OutageFleet]:
        async with opened(postgres_dsn) as database, closing(TableFleet(database, postgres_dsn)) as fleet:
            yield fleet
