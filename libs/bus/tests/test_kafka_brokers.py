"""The bus over three brokers, of which one dies."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from posthorn_bus import KafkaSettings, LeaseTimes
from posthorn_bus.kafka.topics import topic_name
from posthorn_ctl.embedded.errors import PartError
from posthorn_model.events import Control, Topic
from posthorn_model.ports import Bus
from posthorn_storage.database import Database
from posthorn_testkit.contracts.fleet import SHARDS, Ear, Fleet, idle, owned_by, until
from posthorn_testkit.kafka_brokers import three_brokers
from posthorn_testkit.strict import missing

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(300)]


class ThreeBrokersFleet(Fleet):
    """Buses over three brokers."""

    def __init__(self, database: Database, dsn: str, servers: Sequence[str]) -> None:
        super().__init__(database, dsn)
        self._settings = KafkaSettings(
            tuple(servers),
            prefix=f"test-{uuid4().hex[:8]}",
            queue_partitions=len(SHARDS),
            change_partitions=3,
            retention=120.0,
        )

    def settings(self) -> KafkaSettings:
        return self._settings


async def described(settings: KafkaSettings) -> tuple[list[dict[str, Any]], Mapping[str, str]]:
    """The partitions of all topics, and the configuration of the topic of changes."""
    admin = AIOKafkaAdminClient(bootstrap_servers=list(settings.servers))
    await admin.start()
    try:
        topics = await admin.describe_topics([topic_name(settings, topic) for topic in Topic])
        asked = ConfigResource(ConfigResourceType.TOPIC, topic_name(settings, Topic.CHANGES))
        (answer,) = await admin.describe_configs([asked])
        entries = answer.resources[0][4]
        return [part for topic in topics for part in topic["partitions"]], {entry[0]: entry[1] for entry in entries}
    finally:
        await admin.close()


async def count_for_ever(bus: Bus) -> None:
    """An event every 20 ms, each with a number."""
    number = 0
    while True:
        bus.publish(Control("count", {"number": number}))
        number += 1
        await asyncio.sleep(0.02)


def counted(ear: Ear) -> list[int]:
    return [event.detail["number"] for event in ear.events if isinstance(event, Control) and event.name == "count"]


async def test_one_of_three_brokers_dies_while_events_flow(postgres_dsn: str) -> None:
    """Topics have three replicas, of whom two must have an event. The broker that leads the only partition of the flow
    is killed: events go on, what was missed is told by a Gap, and every key stays with its owner.
    """
    with contextlib.ExitStack() as stack:
        try:
            brokers = stack.enter_context(three_brokers())
        except PartError as error:
            missing(str(error))
        database = await Database.open(postgres_dsn)
        fleet = ThreeBrokersFleet(database, postgres_dsn, [broker.servers for broker in brokers])
        stations = [await fleet.station(node) for node in (1, 2)]
        ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
        for station in stations:
            await station.own(fleet.leases, SHARDS, idle, times=LeaseTimes(ttl=30.0, poll=0.2))
        await until(lambda: owned_by(stations) == sorted(SHARDS) and all(s.owners[0].owned for s in stations), "shared")
        await fleet.settle(*ears)
        parts, properties = await described(fleet.settings())
        assert all(len(part["replicas"]) == 3 for part in parts)
        assert properties["min.insync.replicas"] == "2"
        assert properties["retention.ms"] == "120000"

        flow = asyncio.create_task(count_for_ever(stations[0].bus))
        await until(lambda: len(counted(ears[1])) > 20, "events flow")
        before = await fleet.leases.holders("queue/")
        leader = await leader_of(fleet.settings(), Topic.CONTROL)
        await brokers[leader - 1].kill()
        reached = max(counted(ears[1]))
        await until(lambda: max(counted(ears[1])) > reached + 200, "events flow again")
        flow.cancel()
        await asyncio.gather(flow, return_exceptions=True)
        numbers = counted(ears[1])
        missed = set(range(max(numbers))) - set(range(min(numbers))) - set(numbers)
        assert not missed or any(gap.topic is Topic.CONTROL for gap in ears[1].gaps)
        await fleet.settle(*ears)
        after = await fleet.leases.holders("queue/")
        assert {key: owner for key, (owner, _, _) in after.items()} == {
            key: owner for key, (owner, _, _) in before.items()
        }
        await fleet.close()
        await database.close()


async def leader_of(settings: KafkaSettings, topic: Topic) -> int:
    """The number of the broker that leads the topic's first partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=list(settings.servers))
    await admin.start()
    try:
        (found,) = await admin.describe_topics([topic_name(settings, topic)])
        return int(found["partitions"][0]["leader"])
    finally:
        await admin.close()
