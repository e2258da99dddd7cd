"""The bus over real Redis servers, alone, behind sentinels and as a cluster: the contract, and what is Redis's own."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from posthorn_bus import BroadcastTimes, BusIdentity, RedisSettings, Server, TlsSettings, open_bus
from posthorn_bus.broadcast.frames import Head, batch
from posthorn_ctl.embedded.errors import PartError
from posthorn_model.events import QueueDue, Topic
from posthorn_model.ids import NodeId
from posthorn_model.ports import PeerDirectory
from posthorn_storage.database import Database
from posthorn_testkit.certificates import certificate
from posthorn_testkit.contracts.bus import BusContract
from posthorn_testkit.contracts.fleet import Ear, Fleet, until
from posthorn_testkit.redis_servers import RedisCluster, RedisServer, SentinelSet, redis_cluster, sentinel_set
from posthorn_testkit.redis_servers import redis_server as new_redis_server
from posthorn_testkit.strict import missing

pytestmark = [pytest.mark.redis, pytest.mark.postgres]

TIMES = BroadcastTimes(beat=0.2, silence=30.0)
"""So that nobody takes a busy machine for a server that is gone."""


def at(*servers: RedisServer) -> tuple[Server, ...]:
    return tuple(Server("127.0.0.1", server.port) for server in servers)


class RedisFleet(Fleet):
    """Buses over one Redis, with a prefix of their own. `speaker` is a server that passes on what it is told."""

    def __init__(self, database: Database, dsn: str, settings: RedisSettings, speaker: RedisServer) -> None:
        super().__init__(database, dsn)
        self._settings = replace(settings, prefix=f"test-{uuid4().hex[:8]}", times=TIMES)
        self._speaker = speaker
        self._injected = 0

    def settings(self) -> RedisSettings:
        return self._settings

    def unreachable(self) -> tuple[RedisSettings, PeerDirectory | None]:
        return replace(self._settings, servers=(Server("127.0.0.1", 1),), times=replace(TIMES, grace=0.2)), None

    def sender(self) -> str:
        return "a process of another version"

    async def inject(self, topic: Topic, *payloads: bytes) -> None:
        head = Head(self.sender(), self._injected + 1, None)
        self._injected += len(payloads)
        redis = Redis(port=self._speaker.port)
        await redis.publish(f"{self._settings.prefix}.{topic.value}", batch(head, payloads))
        await redis.aclose()


@asynccontextmanager
async def fleet_over(dsn: str, settings: RedisSettings, speaker: RedisServer) -> AsyncIterator[RedisFleet]:
    database = await Database.open(dsn)
    fleet = RedisFleet(database, dsn, settings, speaker)
    try:
        yield fleet
    finally:
        await fleet.close()
        await database.close()


def behind(sentinels: SentinelSet) -> RedisSettings:
    return RedisSettings(at(*sentinels.sentinels), "sentinel", sentinels.name)


class TestRedisSentinelBus(BusContract):
    """The whole contract, over the master that sentinels name (one server alone is reached in the same way)."""

    @pytest.fixture
    async def fleet(self, postgres_dsn: str, redis_sentinels: SentinelSet) -> AsyncIterator[Fleet]:
        async with fleet_over(postgres_dsn, behind(redis_sentinels), redis_sentinels.master) as fleet:
            yield fleet


class TestRedisClusterBus(BusContract):
    """The whole contract, over a cluster: each bus on any of its nodes."""

    @pytest.fixture
    async def fleet(self, postgres_dsn: str, redis_cluster: RedisCluster) -> AsyncIterator[Fleet]:
        settings = RedisSettings(at(*redis_cluster.masters[:1]), "cluster")
        async with fleet_over(postgres_dsn, settings, redis_cluster.masters[1]) as fleet:
            yield fleet


async def goes_on(fleet: Fleet, *servers: RedisServer) -> None:
    """The server of one of four processes is killed: who was on it hears a Gap on every topic, all hear all again."""
    stations = [await fleet.station(node) for node in (1, 2, 3, 4)]
    ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
    await fleet.settle(*ears)
    details = [station.bus.health().detail for station in stations]
    dying = next(server for server in servers if str(server.port) in details[0])
    moved = [ear for ear, detail in zip(ears, details, strict=True) if str(dying.port) in detail]
    dying.kill()
    for ear in moved:
        await until(lambda ear=ear: {gap.topic for gap in ear.gaps} == set(Topic), "a gap on every topic")  # type: ignore[misc]
    await fleet.settle(*ears)
    assert not any(str(dying.port) in station.bus.health().detail for station in stations)


async def test_after_a_fail_over_the_new_master_is_found(postgres_dsn: str) -> None:
    try:
        with sentinel_set(silence=0.5) as sentinels:
            # Which of the masters' names is meant they know: there is but one.
            settings = replace(behind(sentinels), master="")
            async with fleet_over(postgres_dsn, settings, sentinels.master) as fleet:
                await goes_on(fleet, sentinels.master)
                assert str(sentinels.replica.port) in fleet.stations[0].bus.health().detail
    except PartError as error:
        missing(str(error))


async def test_a_dead_node_of_a_cluster_is_left_for_another(postgres_dsn: str) -> None:
    try:
        with redis_cluster(silence=1.0) as cluster:
            settings = RedisSettings(at(*cluster.masters), "cluster")
            async with fleet_over(postgres_dsn, settings, cluster.masters[1]) as fleet:
                await goes_on(fleet, *cluster.servers)
    except PartError as error:
        missing(str(error))


USER, PASSWORD = "posthorn", "correct-horse"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, Path]]:
    """A server that asks for TLS and a login with no more rights than needed, and the file of the authority."""
    folder = tmp_path_factory.mktemp("redis")
    chain, key = certificate()
    (folder / "ca.pem").write_text(chain)
    (folder / "key.pem").write_text(key)
    rights = (
        "user",
        USER,
        "on",
        f">{PASSWORD}",
        "&posthorn.*",
        "+publish",
        "+subscribe",
        "+unsubscribe",
        "+client|setname",
    )
    try:
        with new_redis_server(
            ("tls-cert-file", str(folder / "ca.pem")),
            ("tls-key-file", str(folder / "key.pem")),
            ("tls-auth-clients", "no"),
            ("user", "default", "off"),
            rights,
            tls=True,
        ) as server:
            yield server, folder / "ca.pem"
    except PartError as error:
        missing(str(error))


async def test_events_travel_over_tls_with_a_login(secured: tuple[RedisServer, Path]) -> None:
    server, ca = secured
    settings = RedisSettings(at(server), user=USER, password=PASSWORD, tls=TlsSettings(ca=ca), times=TIMES)
    one, two = [open_bus(settings, BusIdentity(NodeId(node), "imap", f"boot {node}")) for node in (1, 2)]
    ear = Ear(two.subscribe(Topic.QUEUE))
    for bus in (one, two):
        await bus.start()
    await until(lambda: one.health().connected and two.health().connected, "both log in")
    one.publish(QueueDue(3))
    await until(lambda: ear.heard(QueueDue(3)), "the event arrives")
    await asyncio.gather(one.stop(), two.stop())


@pytest.mark.parametrize("trusted", [True, False], ids=["wrong password", "unknown authority"])
async def test_why_a_server_refuses_is_told_and_no_secret_is(
    secured: tuple[RedisServer, Path], trusted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server, ca = secured
    tls = TlsSettings(ca=ca) if trusted else TlsSettings()
    settings = RedisSettings(at(server), user=USER, password="a wrong secret", tls=tls)
    bus = open_bus(settings, BusIdentity(NodeId(1), "imap", "b"))
    await bus.start()
    reason = "invalid username-password" if trusted else "certificate verify failed"
    await until(lambda: reason in bus.health().detail.lower(), "the detail says why")
    await until(lambda: reason in caplog.text.lower(), "the log says why")
    assert not bus.health().connected
    await bus.stop()
    assert "a wrong secret" not in caplog.text + bus.health().detail
    assert "a wrong secret" not in repr(settings)


async def test_sentinels_that_know_no_such_master_are_told(redis_sentinels: SentinelSet) -> None:
    settings = replace(behind(redis_sentinels), master="another")
    bus = open_bus(settings, BusIdentity(NodeId(1), "imap", "b"))
    await bus.start()
    await until(lambda: "No such master" in bus.health().detail, "the detail says why")
    await bus.stop()


def test_settings_without_servers_are_refused() -> None:
    with pytest.raises(ValueError, match="no Redis servers"):
        RedisSettings(())
