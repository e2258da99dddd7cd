"""Settings of [cluster]: the node's identity, how nodes talk, who may hold which role, how leases are timed."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from posthorn_node.settings.values import Bind, Duration, EligibleNodes, Endpoint, NodeIdChoice, Section, refused

TopicPrefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
"""Kafka allows these letters in topic names; the rest of the 249 is left for what follows the prefix."""


class BusTlsSettings(Section):
    """TLS towards Kafka. Without `ca` the system's authorities are trusted."""

    enable: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise refused("a client certificate needs both cert and key", "key" if self.cert else "cert")
        return self


class BusSaslSettings(Section):
    """SASL towards Kafka; no mechanism means none."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str = ""
    password: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mechanism and not (self.username and self.password.get_secret_value()):
            raise refused("a mechanism needs username and password", "mechanism")
        return self


class KafkaSettings(Section):
    """How to reach the Kafka cluster; the same keys stand in [cluster] and in a store of type "kafka"."""

    bootstrap_servers: tuple[Endpoint, ...] = ()
    topic: TopicPrefix | None = None
    """Prefix of all topics; default: the cluster's name."""
    group_id: TopicPrefix | None = None
    """Prefix of all consumer groups; default: the cluster's name."""
    tls: BusTlsSettings = BusTlsSettings()
    sasl: BusSaslSettings = BusSaslSettings()


class PurgeRoles(Section):
    """Who removes what has expired."""

    stores: EligibleNodes = ()
    accounts: EligibleNodes = ()


class AcmeRoles(Section):
    """Who renews certificates."""

    renew: EligibleNodes = ()


class MetricsRoles(Section):
    """Who sums up and who pushes the cluster's figures."""

    calculate: EligibleNodes = ()
    push: EligibleNodes = ()


class IndexRoles(Section):
    """Who keeps the search index."""

    messages: EligibleNodes = ()


class RolesSettings(Section):
    """Which nodes may hold which role; a role left out may be held by any node."""

    purge: PurgeRoles = PurgeRoles()
    acme: AcmeRoles = AcmeRoles()
    metrics: MetricsRoles = MetricsRoles()
    index: IndexRoles = IndexRoles()


class ClusterSettings(KafkaSettings):
    """[cluster]. The coordinator is "peer-to-peer", the name of a Kafka store, or given in short by `type`."""

    name: TopicPrefix = "posthorn"
    node_id: NodeIdChoice = "auto"
    region: Annotated[str, Field(max_length=64)] = ""
    coordinator: str = "peer-to-peer"
    type: Literal["kafka", "peer-to-peer"] | None = None
    secret: SecretStr = SecretStr("")
    peer_bind: Bind = "127.0.0.1:0"
    """Where the peer-to-peer coordinator listens; port 0 is any free one."""
    peer_advertise: Annotated[str, Field(max_length=255)] = ""
    """Host name or address under which others reach it; empty: the address it listens on."""
    roles: RolesSettings = RolesSettings()
    lease_ttl: Duration = 10.0
    heartbeat: Duration = 2.0
    failure_after: Duration = 6.0
    queue_shards: Annotated[int, Field(ge=1, le=1024)] = 16

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type == "kafka" and not self.bootstrap_servers:
            raise refused('type = "kafka" needs the addresses of its brokers', "bootstrap-servers")
        if self.type == "kafka" and "coordinator" in self.model_fields_set:
            raise refused("give either coordinator or type, not both", "coordinator")
        if self.bootstrap_servers and self.type != "kafka":
            raise refused('bootstrap-servers is only used with type = "kafka"', "bootstrap-servers")
        if not 0.05 <= self.heartbeat <= self.failure_after / 2:
            raise refused("must be at least 50ms and at most half of failure-after", "heartbeat")
        if self.lease_ttl < 4:
            raise refused("must be at least 4s: nothing new is started in the last two seconds of a lease", "lease-ttl")
        return self
