"""The bus over a real Kafka broker: the contract, and what is Kafka's own."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from posthorn_bus import BusIdentity, KafkaSettings, LeaseTimes, open_bus
from posthorn_bus.envelope import Envelope, encode
from posthorn_bus.kafka.topics import partitions, topic_name
from posthorn_model.events import Control, Gap, QueueDue, Topic
from posthorn_model.ids import NodeId
from posthorn_model.ports import PeerDirectory
from posthorn_storage.database import Database
from posthorn_testkit.contracts.bus import BusContract
from posthorn_testkit.contracts.fleet import PATIENCE, QUICK, SHARDS, Ear, Fleet, idle, owned_by, until
from posthorn_testkit.contracts.speaker import speaker
from posthorn_testkit.gate import gate_to
from posthorn_testkit.servers import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


class KafkaFleet(Fleet):
    """Buses over some brokers, with a prefix of their own."""

    def __init__(self, database: Database, dsn: str, *servers: str) -> None:
        super().__init__(database, dsn)
        self._settings = KafkaSettings(
            servers, prefix=f"test-{uuid4().hex[:8]}", queue_partitions=len(SHARDS), change_partitions=3, session=6.0
        )

    def settings(self) -> KafkaSettings:
        return self._settings

    def unreachable(self) -> tuple[KafkaSettings, PeerDirectory | None]:
        return KafkaSettings(("127.0.0.1:1",), prefix=self._settings.prefix, grace=0.2), None

    def sender(self) -> str:
        return "a process of another version"

    async def inject(self, topic: Topic, *payloads: bytes) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=list(self._settings.servers), max_batch_size=1 << 20)
        await producer.start()
        try:
            batch = producer.create_batch()
            for payload in payloads:
                assert batch.append(key=None, value=payload, timestamp=None) is not None
            await (await producer.send_batch(batch, topic_name(self._settings, topic), partition=0))
        finally:
            await producer.stop()


@pytest.fixture
async def fleet(postgres_dsn: str, kafka_servers: str) -> AsyncIterator[Fleet]:
    database = await Database.open(postgres_dsn)
    fleet = KafkaFleet(database, postgres_dsn, kafka_servers)
    yield fleet
    await fleet.close()
    await database.close()


class TestKafkaBus(BusContract):
    """The whole contract."""


async def admin_of(settings: KafkaSettings) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=list(settings.servers))
    await admin.start()
    return admin


async def test_topics_have_the_wanted_partitions_and_grow(fleet: KafkaFleet) -> None:
    station = await fleet.station(1)
    ear = Ear(station.bus.subscribe(Topic.CHANGES))
    await until(lambda: station.bus.health().connected, "connected")
    admin = await admin_of(fleet.settings())
    try:
        found = await partitions(admin, fleet.settings())
        assert found == {Topic.CHANGES: 3, Topic.CONTROL: 1, Topic.QUEUE: 8, Topic.ROLES: 8, Topic.NODES: 1}
        await until(lambda: ear.gaps, "the first gap")
        before = len(ear.gaps)
        await admin.create_partitions({topic_name(fleet.settings(), Topic.CHANGES): NewPartitions(5)})
        await until(lambda: len(ear.gaps) > before, "a gap after new partitions")
    finally:
        await admin.close()


async def test_a_reader_far_behind_jumps_to_the_end(fleet: KafkaFleet) -> None:
    settings = KafkaSettings(fleet.settings().servers, prefix=fleet.settings().prefix, max_lag=100)
    bus = open_bus(settings, BusIdentity(NodeId(1), "imap", "b"))
    await bus.start()
    ear = Ear(bus.subscribe(Topic.CONTROL))
    await until(lambda: bus.health().connected and ear.gaps, "connected")
    many = [encode(Envelope(Control("x", {"number": number}), 1, NodeId(9), "c")) for number in range(150)] * 10
    await fleet.inject(Topic.CONTROL, *many)
    await until(lambda: any("behind" in gap.reason for gap in ear.gaps), "a gap for what was skipped")
    last = Control("after", {})
    await fleet.inject(Topic.CONTROL, encode(Envelope(last, 1, NodeId(9), "c")))
    await until(lambda: ear.heard(last), "what comes later is heard")
    assert len(ear.events) < 1500
    await bus.stop()


async def test_lag_is_told_as_long_as_it_lasts(fleet: KafkaFleet) -> None:
    station = await fleet.station(1)
    ear = Ear(station.bus.subscribe(Topic.CONTROL))
    await until(lambda: station.bus.health().connected and ear.gaps, "connected")
    worst = 0

    async def look() -> None:
        nonlocal worst
        while True:
            worst = max(worst, station.bus.health().lag_events)
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    many = [encode(Envelope(Control("x", {"number": number}), 1, NodeId(9), "c")) for number in range(3_000)]
    await fleet.inject(Topic.CONTROL, *many)
    await until(lambda: len(ear.events) == len(many), "everything is read")
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert 0 < worst <= len(many)
    health = station.bus.health()
    assert (health.lag_events, health.lag_seconds) == (0, 0.0)


@pytest.mark.timeout(300)
async def test_a_broker_that_went_away_and_came_back(postgres_dsn: str, kafka_broker: KafkaBroker) -> None:
    """Nobody falls over; owners go on; afterwards everyone hears a Gap, and events again."""
    database = await Database.open(postgres_dsn)
    fleet = KafkaFleet(database, postgres_dsn, kafka_broker.servers)
    stations = [await fleet.station(node) for node in (1, 2)]
    ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
    for station in stations:
        await station.own(fleet.leases, SHARDS, idle, times=LeaseTimes(ttl=30.0, poll=0.2))
    await until(lambda: owned_by(stations) == sorted(SHARDS) and all(s.owners[0].owned for s in stations), "shared")
    await fleet.settle(*ears)
    before = await fleet.leases.holders("queue/")
    await kafka_broker.kill()
    try:
        await until(lambda: not any(station.bus.health().connected for station in stations), "the loss is noticed")
        for number in range(20_000):
            stations[0].bus.publish(QueueDue(number))
        assert ears[1].gaps == []
    finally:
        await kafka_broker.start()
    for ear in ears:
        await until(lambda ear=ear: {gap.topic for gap in ear.gaps} == set(Topic), "a gap on every topic")  # type: ignore[misc]
    await fleet.settle(*ears)
    await until(lambda: owned_by(stations) == sorted(SHARDS), "every shard is owned")
    after = await fleet.leases.holders("queue/")
    assert {key: owner for key, (owner, _, _) in after.items()} == {key: owner for key, (owner, _, _) in before.items()}
    await fleet.close()
    await database.close()


@pytest.mark.timeout(300)
async def test_what_a_sender_cut_off_alone_loses_makes_the_others_hear_a_gap(fleet: KafkaFleet) -> None:
    """The others are connected all the time: without being told they would never know."""
    stations = [await fleet.station(node) for node in (1, 2)]
    ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
    await fleet.settle(*ears)
    port = int(fleet.settings().servers[0].rpartition(":")[2])
    async with gate_to(port) as gate, speaker(fleet, 3, ways={port: gate.port}) as alone:

        def hears() -> bool:
            alone.publish(Control("here"))
            return all(Control("here") in ear.events for ear in ears)

        await until(hears, "the third is heard")
        gate.shut()
        alone.publish(QueueDue(7))

        def lost() -> bool:
            alone.ask_health()
            return bool(alone.health.get("dropped"))

        await until(lost, "it gave up an event")
        assert all(station.bus.health().connected for station in stations)
        assert ears[0].gaps == ears[1].gaps == []
        gate.open()
        reason = "node 3 could not send all its events"

        def told(ear: Ear) -> bool:
            # What was under way when the gate was shut is given up too; what was not given up yet arrives late.
            known = QueueDue(7) in ear.events or Gap(Topic.QUEUE, reason) in ear.gaps
            return known and reason in {gap.reason for gap in ear.gaps}

        await until(lambda: all(told(ear) for ear in ears), "the others are told")
        assert {gap.reason for ear in ears for gap in ear.gaps} == {reason}


@pytest.mark.timeout(300)
async def test_started_before_its_broker(postgres_dsn: str, kafka_broker: KafkaBroker) -> None:
    database = await Database.open(postgres_dsn)
    fleet = KafkaFleet(database, postgres_dsn, kafka_broker.servers)
    await kafka_broker.stop()
    try:
        station = await fleet.station(1)
        subscription = station.bus.subscribe(Topic.CONTROL)
        assert not station.bus.health().connected
    finally:
        await kafka_broker.start()
    async with asyncio.timeout(PATIENCE):
        assert await anext(subscription) == Gap(Topic.CONTROL, "connected")
    await until(lambda: station.bus.health().connected, "connected")
    await fleet.close()
    await database.close()


async def test_two_processes_with_one_name_do_not_stop_each_other(fleet: KafkaFleet) -> None:
    """A static member that appears twice is fenced off by the broker; its keys are still owned, by one of both."""
    stations = [await fleet.station(1), await fleet.station(1)]
    for station in stations:
        await station.own(fleet.leases, SHARDS, idle, times=QUICK)
    await until(lambda: owned_by(stations) == sorted(SHARDS), "each shard is owned once")


async def test_two_processes_of_a_service_on_a_node_have_names_of_their_own(fleet: KafkaFleet) -> None:
    """With a number each they share the keys like any two."""
    stations = [await fleet.station(1, worker=number) for number in (0, 1)]
    for station in stations:
        await station.own(fleet.leases, SHARDS, idle, times=QUICK)
    await until(lambda: owned_by(stations) == sorted(SHARDS) and all(s.owners[0].owned for s in stations), "shared")


async def test_more_replicas_than_brokers_are_waited_for_and_told(fleet: KafkaFleet) -> None:
    settings = KafkaSettings(fleet.settings().servers, prefix=f"{fleet.settings().prefix}-wide", replication=2)
    bus = open_bus(settings, BusIdentity(NodeId(1), "imap", "b"))
    await bus.start()
    await until(lambda: "ReplicationFactor" in bus.health().detail, "the detail says why")
    assert not bus.health().connected
    await bus.stop()
