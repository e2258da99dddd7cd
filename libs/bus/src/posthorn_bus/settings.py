"""Settings and identity the bus is handed. It reads no file and no environment itself."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from posthorn_model.ids import NodeId


@dataclass(frozen=True, slots=True)
class BusIdentity:
    """Who speaks: one process of one service on one node."""

    node: NodeId
    service: str
    boot: str
    """Unique for one life of one process."""
    worker: int = 0
    """Tells apart processes of one service on one node; keeps its value over restarts."""
    near: tuple[str, ...] = ()
    """The keys that it should have rather than others: it stands in their region."""

    @property
    def member(self) -> str:
        """The name that stays the same when the process is restarted (static membership, rendezvous hash)."""
        plain = f"{self.node}-{self.service}"
        return f"{plain}-{self.worker}" if self.worker else plain


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS to the brokers. Without `ca` the system's certificates are trusted."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    check_hostname: bool = True


@dataclass(frozen=True, slots=True)
class SaslSettings:
    """SASL to the brokers: `mechanism` is "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512"."""

    mechanism: str
    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if self.mechanism not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            raise ValueError(f"SASL mechanism {self.mechanism!r}: use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """A Kafka cluster as the coordinator. Times are in seconds."""

    servers: tuple[str, ...]
    """Bootstrap servers, "host:port"."""
    prefix: str = "posthorn"
    """Of every topic and group; one per cluster."""
    group: str = ""
    """Prefix of the groups; empty: `prefix`."""
    tls: TlsSettings | None = None
    sasl: SaslSettings | None = None
    change_partitions: int = 12
    queue_partitions: int = 16
    """One per queue shard."""
    role_partitions: int = 8
    """One per role."""
    retention: float = 900.0
    """How long the brokers keep events; nobody reads old ones."""
    replication: int | None = None
    """Replicas of each partition; None: three, or as many as there are brokers when the topics are made."""
    min_in_sync: int | None = None
    """How many of them must have an event before it counts as sent; None: two, but one less than there are."""
    session: float = 6.0
    """A group member that is silent for so long has left; the brokers allow 6 s and more by default."""
    grace: float = 8.0
    """So long without a broker, and every key is proposed to everyone, so that leases alone decide."""
    max_lag: int = 20_000
    """Events in one partition that are still worth reading; further behind, a reader jumps to the end."""
    metadata_age: float = 15.0
    """How soon new partitions are found."""

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("no bootstrap servers")


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """No coordinator: the processes find each other in the node table and talk directly. Times are in seconds."""

    secret: str = field(default="", repr=False)
    """The cluster's secret: proves that an announced key belongs here. Empty: whoever may write the table belongs."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 0
    """0: a free one."""
    advertise: str = ""
    """Host name or address the others connect to; empty: `host`."""
    heartbeat: float = 1.0
    refresh: float = 2.0
    """How often the node table is read."""
    silence: float = 5.0
    """A peer not heard for so long counts as unreachable in the bus's health."""
    calm: int = 50
    """With more peers than this everybody beats less often, so that what each hears stays as much."""
    grace: float = 8.0
    """So long without the node table, and every key is proposed to everyone, so that leases alone decide."""


@dataclass(frozen=True, slots=True)
class BroadcastTimes:
    """How a coordinator that only passes messages on is watched, and groups over it. In seconds."""

    beat: float = 1.0
    silence: float = 5.0
    """A server, a member or a leader not heard for so long is gone."""
    grace: float = 8.0
    """So long without a sharing, and every key is proposed to everyone, so that leases alone decide."""


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """NATS servers as the coordinator: core NATS, nothing is stored there."""

    servers: tuple[str, ...]
    """"host:port" of some servers of one cluster, tried in any order."""
    prefix: str = "posthorn"
    """Of every subject; one per cluster."""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    """Instead of user and password."""
    tls: TlsSettings | None = None
    times: BroadcastTimes = BroadcastTimes()

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("no NATS servers")
        if not all(self.prefix.split(".")):
            raise ValueError("dots in the prefix of NATS subjects may not be first, last or next to each other")


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Redis as the coordinator: publish and subscribe, nothing is stored there."""

    servers: tuple[Server, ...]
    """The server; of kind "sentinel" the sentinels, of kind "cluster" some nodes."""
    kind: Literal["server", "sentinel", "cluster"] = "server"
    master: str = ""
    """The name that the sentinels know the master under; empty: they watch but one."""
    prefix: str = "posthorn"
    """Of every channel; one per cluster."""
    user: str = ""
    password: str = field(default="", repr=False)
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)
    tls: TlsSettings | None = None
    """To the sentinels too."""
    times: BroadcastTimes = BroadcastTimes()

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("no Redis servers")


BusSettings = KafkaSettings | PeerSettings | NatsSettings | RedisSettings
"""Which coordinator, and how to reach it."""
