"""The topics of a cluster: their names, partitions, replication and retention. Made when missing, never smaller."""

from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import (
    InvalidPartitionsError,
    KafkaError,
    LeaderNotAvailableError,
    TopicAlreadyExistsError,
    for_code,
)

from posthorn_bus.settings import KafkaSettings
from posthorn_model.events import Topic


def topic_name(settings: KafkaSettings, topic: Topic) -> str:
    return f"{settings.prefix}.{topic.value}"


def wanted_partitions(settings: KafkaSettings) -> Mapping[Topic, int]:
    """How many partitions each topic should have at least."""
    return {
        Topic.CHANGES: settings.change_partitions,
        Topic.CONTROL: 1,
        Topic.QUEUE: settings.queue_partitions,
        Topic.ROLES: settings.role_partitions,
        Topic.NODES: 1,
    }


async def ensure_topics(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> None:
    """Make the topics that are missing and add missing partitions. Raises KafkaError."""
    brokers = len((await admin.describe_cluster())["brokers"])
    replicas = settings.replication or min(3, max(1, brokers))
    # Never more than there are replicas: nothing could be sent.
    in_sync = min(settings.min_in_sync or max(1, min(2, replicas - 1)), replicas)
    properties = {
        "cleanup.policy": "delete",
        "retention.ms": str(int(settings.retention * 1000)),
        "segment.ms": str(int(settings.retention * 500)),
        "min.insync.replicas": str(in_sync),
        # The broker's time: it refuses what comes from an hour ahead, and removes early what comes from behind.
        "message.timestamp.type": "LogAppendTime",
    }
    there = await partitions(admin, settings)
    missing = {topic: count for topic, count in wanted_partitions(settings).items() if topic not in there}
    made = [
        NewTopic(topic_name(settings, topic), count, replicas, topic_configs=properties)
        for topic, count in missing.items()
    ]
    if made:
        _raise_but(await admin.create_topics(made), TopicAlreadyExistsError)
    more = {
        topic_name(settings, topic): NewPartitions(count)
        for topic, count in wanted_partitions(settings).items()
        if there.get(topic, count) < count
    }
    if more:
        # Another process may have been quicker: then the broker finds the number not larger.
        _raise_but(await admin.create_partitions(more), InvalidPartitionsError)


async def partitions(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> Mapping[Topic, int]:
    """The number of partitions of each topic that exists; the topics not yet led by a broker count as missing."""
    by_name = {topic_name(settings, topic): topic for topic in Topic}
    found = {}
    for described in await admin.describe_topics(list(by_name)):
        if described["error_code"] == 0 and all(part["leader"] >= 0 for part in described["partitions"]):
            found[by_name[described["topic"]]] = len(described["partitions"])
    return found


def _raise_but(response: object, harmless: type[KafkaError]) -> None:
    for name, code, *_ in response.topic_errors:  # type: ignore[attr-defined]
        error = for_code(code)
        if code != 0 and not issubclass(error, (harmless, LeaderNotAvailableError)):
            raise error(name)
