"""Which topic an event belongs to, and the key that keeps related events in one partition."""

from posthorn_bus.envelope import Lost
from posthorn_model.events import (
    Changed,
    Control,
    EchoAnswered,
    EchoAsked,
    Event,
    LeaseAsked,
    LeaseNotice,
    NodeNotice,
    QueueDue,
    Topic,
)


def topic_of(event: Event | Lost) -> Topic:
    """The topic of an event; a lease's family is the first word of its key."""
    match event:
        case Changed():
            return Topic.CHANGES
        case Control() | EchoAsked() | EchoAnswered():
            # What every process hears.
            return Topic.CONTROL
        case Lost():
            return event.topic
        case QueueDue():
            return Topic.QUEUE
        case NodeNotice():
            return Topic.NODES
        case LeaseNotice() | LeaseAsked():
            return Topic.QUEUE if event.key.startswith("queue/") else Topic.ROLES


def partition_of(event: Event | Lost, partitions: int) -> int:
    """The partition (0 to `partitions - 1`) of an event: per account, per shard or role, per node."""
    match event:
        case Changed():
            return event.account % partitions
        case QueueDue():
            return event.shard % partitions
        case LeaseNotice() | LeaseAsked():
            return key_number(event.key) % partitions
        case NodeNotice():
            return event.node % partitions
        case Control() | EchoAsked() | EchoAnswered() | Lost():
            return 0


def key_number(key: str) -> int:
    """A number for an ownership key: its own last word when that is one ("queue/7"), else one made of its bytes."""
    tail = key.rpartition("/")[2]
    return int(tail[:9]) if tail.isascii() and tail.isdigit() else sum(key.encode())
