"""Settings of the stores that storage.lookup may name beside the data store: Redis, and the memory of a process."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from posthorn_node.settings.redis_servers import RedisServers
from posthorn_node.settings.values import Duration, Section, refused


class RedisPoolSettings(Section):
    """Connections of one process to each server."""

    max_connections: Annotated[int, Field(ge=1, le=1000)] = 20


class RedisStore(RedisServers):
    """[store."NAME"] with type "redis": one server, sentinels that name a master, or a cluster.

    Named by storage.lookup, cluster.coordinator, or both.
    """

    type: Literal["redis"]
    pool: RedisPoolSettings = RedisPoolSettings()
    timeout: Annotated[Duration, Field(ge=0.05, le=2.0)] = 1.0
    """For a connection, and for each answer."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if len(self.urls) > 1 and not (self.cluster or self.sentinel.master):
            raise refused("several need sentinel.master, or cluster = true", "urls")
        return self


class MemoryStore(Section):
    """[store."NAME"] with type "memory": each process has its own, which is empty when it starts."""

    type: Literal["memory"]
    entries: Annotated[int, Field(ge=1000, le=100_000_000)] = 100_000
    """What was written longest ago is forgotten first."""


LookupStore = RedisStore | MemoryStore
