"""Settings of the stores that storage.lookup may name beside the data store: Redis, and the memory of a process."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from posthorn_node.settings.values import Duration, Section, one_or_more, refused

_FORM = "must be redis://host:port, or rediss://host:port for TLS, with user:password@ before the host where needed"


class SentinelSettings(Section):
    """[store."NAME".sentinel]: then the urls are those of the sentinels."""

    master: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = ""
    """The name that the sentinels know the master under."""


class RedisTlsSettings(Section):
    """TLS towards rediss:// servers. Without `ca` the system's authorities are trusted."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise refused("a client certificate needs both cert and key", "key" if self.cert else "cert")
        return self


class RedisPoolSettings(Section):
    """Connections of one process to each server."""

    max_connections: Annotated[int, Field(ge=1, le=1000)] = 20


class RedisStore(Section):
    """[store."NAME"] with type "redis": one server, sentinels that name a master, or a cluster."""

    type: Literal["redis"]
    urls: Annotated[tuple[SecretStr, ...], BeforeValidator(one_or_more), Field(min_length=1, max_length=100)]
    """Secret as a whole, for a password may stand in each."""
    sentinel: SentinelSettings = SentinelSettings()
    cluster: bool = False
    user: str = ""
    password: SecretStr = SecretStr("")
    tls: RedisTlsSettings = RedisTlsSettings()
    pool: RedisPoolSettings = RedisPoolSettings()
    timeout: Annotated[Duration, Field(ge=0.05, le=2.0)] = 1.0
    """For a connection, and for each answer."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        urls = [_read(url.get_secret_value()) for url in self.urls]
        if len({url.scheme for url in urls}) > 1:
            raise refused("must all be redis://, or all rediss://", "urls")
        if self.cluster and self.sentinel.master:
            raise refused("give either cluster or sentinel.master, not both", "cluster")
        if len(urls) > 1 and not (self.cluster or self.sentinel.master):
            raise refused("several need sentinel.master, or cluster = true", "urls")
        if self.cluster and any(url.path.strip("/") not in ("", "0") for url in urls):
            raise refused("a cluster has no numbered databases", "urls")
        if self.user and not self.password.get_secret_value():
            raise refused("a user needs a password", "user")
        if self.password.get_secret_value() and not self.sentinel.master and any(url.password for url in urls):
            raise refused("give it either here or in the urls, not both", "password")
        if urls[0].scheme == "redis" and self.tls.model_fields_set:
            raise refused("only used with rediss:// in the urls", "tls")
        return self


def _read(url: str) -> SplitResult:
    """A URL of Redis. Raises PydanticCustomError, whose text does not hold it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise refused(_FORM, "urls")
    database = parts.path.strip("/")
    if database and not (database.isascii() and database.isdigit() and len(database) < 6):
        raise refused("what follows the host and port must be the number of a database", "urls")
    return parts


class MemoryStore(Section):
    """[store."NAME"] with type "memory": each process has its own, which is empty when it starts."""

    type: Literal["memory"]
    entries: Annotated[int, Field(ge=1000, le=100_000_000)] = 100_000
    """What was written longest ago is forgotten first."""


LookupStore = RedisStore | MemoryStore
