"""A client for Redis alone, behind Sentinel, or as a cluster: made from settings, connecting only when it is used.

redis-py's own repeats are turned off: a command whose reply was lost may have been done, and whether to do it again is
for the caller to say. Protocol 2 is spoken, which every server knows.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from posthorn_storage.settings import RedisSettings

Client: TypeAlias = "Redis | RedisCluster"
DEFAULT_PORT = 6379
SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class Place:
    """A server as its URL names it."""

    host: str
    port: int
    tls: bool
    database: int
    login: Mapping[str, Any] = field(repr=False)


def place(url: str, default_port: int = DEFAULT_PORT) -> Place:
    """Read redis://[user:password@]host[:port][/database], or rediss:// for TLS. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("a Redis URL is redis://host:port, or rediss://host:port for TLS")
    login = {"username": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    database = parts.path.strip("/")
    return Place(
        parts.hostname,
        parts.port or default_port,
        parts.scheme == "rediss",
        int(database) if database else 0,
        {name: value for name, value in login.items() if value},
    )


@dataclass(frozen=True, slots=True)
class Connected:
    """A client, and the other clients it stands on (those of the sentinels)."""

    client: Client
    sentinels: tuple[Redis, ...] = ()

    async def close(self) -> None:
        await self.client.aclose()
        for sentinel in self.sentinels:
            await sentinel.aclose()


def client(settings: RedisSettings) -> Connected:
    """Make the client that the settings ask for. Raises ValueError for a URL that is none."""
    port = SENTINEL_PORT if settings.sentinel_master else DEFAULT_PORT
    places = [place(url, port) for url in settings.urls]
    if not places:
        raise ValueError("no Redis URL is given")
    own: dict[str, Any] = {
        name: value for name, value in (("username", settings.user), ("password", settings.password)) if value
    }
    options = _options(settings, tls=places[0].tls)
    if settings.cluster:
        nodes = [ClusterNode(found.host, found.port) for found in places]
        login = {**places[0].login, **own}
        return Connected(RedisCluster(startup_nodes=nodes, max_connections=settings.connections, **login, **options))
    if settings.sentinel_master:
        sentinel = Sentinel([])  # type: ignore[no-untyped-call]
        sentinel.sentinels = [
            Redis(host=found.host, port=found.port, **found.login, **options, max_connections=4) for found in places
        ]
        master = sentinel.master_for(
            settings.sentinel_master,
            db=places[0].database,
            max_connections=settings.connections,
            **own,
            **options,
        )
        return Connected(master, tuple(sentinel.sentinels))
    only = places[0]
    return Connected(
        Redis(
            host=only.host,
            port=only.port,
            db=only.database,
            max_connections=settings.connections,
            **{**only.login, **own},
            **options,
        )
    )


def _options(settings: RedisSettings, *, tls: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_connect_timeout": settings.timeout,
        "socket_timeout": settings.timeout,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "client_name": "posthorn",
    }
    if tls:
        options |= {
            "ssl": True,
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
            "ssl_ca_certs": settings.tls_ca,
            "ssl_certfile": settings.tls_cert,
            "ssl_keyfile": settings.tls_key,
        }
    return options
