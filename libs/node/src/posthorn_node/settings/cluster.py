"""Settings of [cluster]: the node's identity, its coordinator, how leases are timed."""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator

from posthorn_node.settings.coordinators import KafkaSettings, NatsSettings, TopicPrefix
from posthorn_node.settings.redis_servers import RedisServers, SentinelSettings
from posthorn_node.settings.roles import RolesSettings
from posthorn_node.settings.values import Bind, Duration, NodeIdChoice, RegionName, Section, one_or_more, refused

_USED_BY = {
    "bootstrap_servers": ("kafka",),
    "urls": ("nats", "redis"),
    "user": ("nats", "redis"),
    "password": ("nats", "redis"),
    "token": ("nats",),
    "cluster": ("redis",),
}
"""The types of coordinator that each key is for."""
SHORTEST_LEASE = 3
"""Seconds. A pause of the database that is as common as two seconds must not take all work from everybody."""


class ClusterSettings(KafkaSettings):
    """[cluster]. The coordinator is "peer-to-peer", the name of a store, or given in short by `type`."""

    name: TopicPrefix = "posthorn"
    node_id: NodeIdChoice = "auto"
    region: RegionName = ""
    coordinator: str = "peer-to-peer"
    type: Literal["kafka", "nats", "redis", "peer-to-peer"] | None = None
    urls: Annotated[tuple[SecretStr, ...], BeforeValidator(one_or_more)] = ()
    """Of a type that has urls; this and the next are what the store of that type has."""
    user: str = ""
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    sentinel: SentinelSettings = SentinelSettings()
    cluster: bool = False
    secret: SecretStr = SecretStr("")
    peer_bind: Bind = "127.0.0.1:0"
    """Where the peer-to-peer coordinator listens; port 0 is any free one."""
    peer_advertise: Annotated[str, Field(max_length=255)] = ""
    """Host name or address under which others reach it; empty: the address it listens on."""
    roles: RolesSettings = RolesSettings()
    lease_ttl: Duration = 8.0
    heartbeat: Duration = 2.0
    failure_after: Duration = 6.0
    queue_shards: Annotated[int, Field(ge=1, le=1024)] = 16
    queue_regions: Annotated[tuple[RegionName, ...], Field(max_length=64)] = ()
    """Shard n of the queue is preferably sent from the region at place n, counted round."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type == "kafka" and not self.bootstrap_servers:
            raise refused('type = "kafka" needs the addresses of its brokers', "bootstrap-servers")
        if self.type not in (None, "peer-to-peer") and "coordinator" in self.model_fields_set:
            raise refused("give either coordinator or type, not both", "coordinator")
        for name, types in _USED_BY.items():
            if getattr(self, name) and self.type not in types:
                key = name.replace("_", "-")
                raise refused(f"{key} is only used with type = " + " or ".join(f'"{kind}"' for kind in types), key)
        if self.nats() is not None and not all(self.name.split(".")):
            raise refused("with NATS, dots may not be first, last or next to each other", "name")
        if self.sentinel.master and self.type != "redis":
            raise refused('sentinel.master is only used with type = "redis"', "sentinel")
        self.redis()
        if not 0.05 <= self.heartbeat <= self.failure_after / 2:
            raise refused("must be at least 50ms and at most half of failure-after", "heartbeat")
        if self.lease_ttl < SHORTEST_LEASE:
            raise refused(
                f"must be at least {SHORTEST_LEASE}s: work goes on while the database pauses for two thirds of it",
                "lease-ttl",
            )
        if self.heartbeat > self.lease_ttl / 2:
            raise refused("must be at most half of lease-ttl: heartbeats renew the lease of the node's id", "heartbeat")
        return self

    def nats(self) -> NatsSettings | None:
        """The NATS given in short; None when it is not the type."""
        if self.type != "nats":
            return None
        return _in_short(NatsSettings, self, "urls", "user", "password", "token", "tls")

    def redis(self) -> RedisServers | None:
        """The Redis given in short; None when it is not the type."""
        if self.type != "redis":
            return None
        tls = {name: getattr(self.tls, name) for name in ("ca", "cert", "key") if getattr(self.tls, name)}
        found = _in_short(RedisServers, self, "urls", "user", "password", "sentinel", "cluster", tls=tls)
        if self.tls.enable and not found.secured:
            raise refused("write rediss:// in the urls", "tls")
        return found


_Part = TypeVar("_Part", bound=Section)


def _in_short(model: type[_Part], settings: ClusterSettings, *names: str, **more: object) -> _Part:
    """What a store of its own would be, from keys of the same names. Raises PydanticCustomError."""
    given = {name: getattr(settings, name) for name in names if name in settings.model_fields_set}
    try:
        return model(**given, **{name: value for name, value in more.items() if value})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = first.get("ctx", {}).get("key") or str((*first["loc"], "type")[0])
        missing = f'is missing: type = "{settings.type}" needs it'
        raise refused(missing if first["type"] == "missing" else first["msg"], key) from None
