"""Cluster coordination: events, shard ownership, elections, over Kafka, NATS, Redis or peer to peer.

Everything it carries is a hint, everything it proposes needs a lease (design laws 1 and 5). It knows nothing of mail.
"""

from posthorn_bus.connect import open_bus
from posthorn_bus.echo import Answer, Echo
from posthorn_bus.election import election, eligible_keys, role_keys, role_of
from posthorn_bus.leases import HeldLease, LeaseKeeper, LeaseTimes
from posthorn_bus.ownership import Owner, Run
from posthorn_bus.settings import (
    BroadcastTimes,
    BusIdentity,
    BusSettings,
    KafkaSettings,
    NatsSettings,
    PeerSettings,
    RedisSettings,
    SaslSettings,
    Server,
    TlsSettings,
)

__all__ = [
    "Answer",
    "BroadcastTimes",
    "BusIdentity",
    "BusSettings",
    "Echo",
    "HeldLease",
    "KafkaSettings",
    "LeaseKeeper",
    "LeaseTimes",
    "NatsSettings",
    "Owner",
    "PeerSettings",
    "RedisSettings",
    "Run",
    "SaslSettings",
    "Server",
    "TlsSettings",
    "election",
    "eligible_keys",
    "open_bus",
    "role_keys",
    "role_of",
]
