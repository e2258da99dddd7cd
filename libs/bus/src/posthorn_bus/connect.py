"""Chooses the bus. A process has one: what the others are made of, megabytes of clients, is not imported."""

from collections.abc import Callable

from posthorn_bus.broadcast import BroadcastBus
from posthorn_bus.nats import nats_opening
from posthorn_bus.redis import redis_opening
from posthorn_bus.settings import BusIdentity, BusSettings, KafkaSettings, NatsSettings, RedisSettings
from posthorn_model.clock import SystemClock
from posthorn_model.events import Event
from posthorn_model.ports import Bus, Clock, PeerDirectory


def open_bus(
    settings: BusSettings,
    identity: BusIdentity,
    peers: PeerDirectory | None = None,
    clock: Clock | None = None,
    *,
    first: Callable[[Event], None] | None = None,
) -> Bus:
    """Make the bus of one process; `await bus.start()` connects it.

    `first` is told of each event of another process before any subscriber is; it may not block.
    `peers` is needed by the peer-to-peer bus. Raises ValueError without it, OSError or ssl.SSLError for
    certificates that cannot be read, ImportError when the coordinator's client is not installed.
    """
    clock = clock or SystemClock()
    if isinstance(settings, KafkaSettings):
        from posthorn_bus.kafka import KafkaBus

        return KafkaBus(settings, identity, clock, first)
    if isinstance(settings, NatsSettings):
        opening = nats_opening(settings, identity)
        return BroadcastBus("nats", opening, settings.prefix, settings.times, identity, clock, first)
    if isinstance(settings, RedisSettings):
        opening = redis_opening(settings, identity)
        return BroadcastBus("redis", opening, settings.prefix, settings.times, identity, clock, first)
    if peers is None:
        raise ValueError("the peer-to-peer bus needs the node table")
    from posthorn_bus.peer import PeerBus

    return PeerBus(settings, identity, peers, clock, first)
