"""Settings of [cluster]: the node's identity, its coordinator, how leases are timed."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from posthorn_node.settings.coordinators import KafkaSettings, TopicPrefix
from posthorn_node.settings.roles import RolesSettings
from posthorn_node.settings.values import Bind, Duration, NodeIdChoice, refused


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
