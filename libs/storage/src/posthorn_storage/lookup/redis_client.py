"""How Redis is reached: one server, the master that sentinels name, or a cluster. Nothing connects before it is used.

redis-py's own repeats are turned off: a command whose reply was lost may have been done, and whether to do it again is
for the caller to say. Protocol 2 is spoken, which every server knows.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from posthorn_model.errors import Overloaded
from posthorn_storage.settings import RedisSettings

Command: TypeAlias = tuple[Any, ...]
DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
LATE_SECONDS = 0.05
"""How long the last sentinels are waited for when most have answered."""
WAITING = 2000
"""Callers that may wait for a connection to a server at once."""


class Client(Protocol):
    """Whatever runs commands."""

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order, errors of single commands among them (ResponseError); they are not atomic together.

        Raises RedisError and OSError, Overloaded when too many wait.
        """
        ...

    async def close(self) -> None: ...


class Server:
    """The client of one server, of `connections` at once; what is more waits in order."""

    def __init__(self, redis: Redis, connections: int, asked: Sequence[Redis] = ()) -> None:
        self._redis = redis
        self._asked = asked
        """The clients of the sentinels that are asked where the server is."""
        self._places = asyncio.Semaphore(connections)
        self._waiting = 0

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        if self._waiting >= WAITING:
            raise Overloaded(step="lookup", waiting=self._waiting)
        self._waiting += 1
        try:
            async with self._places:
                pipeline = self._redis.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                return await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError):
            await self.doubt()
            raise
        finally:
            self._waiting -= 1

    async def doubt(self) -> None:
        """Close idle connections: they lead where one led to a server that is gone, or is the master no more."""
        await self._redis.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        for redis in (self._redis, *self._asked):
            with contextlib.suppress(RedisError, OSError):  # a server that does not answer holds up nobody's end
                await redis.aclose()


class Sentinels:
    """Asks all sentinels at once who is master, and believes the newest election that any of them knows of.

    redis-py's own Sentinel believes the first that answers: right after a fail-over that may be one that has not heard,
    and what is written to the old master, if it is back already, is lost.
    """

    def __init__(self, asked: Sequence[Redis]) -> None:
        self._asked = asked
        self._asking: dict[str, asyncio.Task[tuple[str, int]]] = {}

    async def discover_master(self, name: str) -> tuple[str, int]:
        """Host and port. Raises MasterNotFoundError when no sentinel answers, or the newest holds the master for dead.

        Connections that are made at the same moment share one question: many at once would only make sentinels slow.
        """
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = asyncio.create_task(self._ask(name), name="ask sentinels")
            asking.add_done_callback(lambda asked: self._answered(name, asked))
        # Who gives up does not take the answer from the others.
        return await asyncio.shield(asking)

    def _answered(self, name: str, asked: asyncio.Task[tuple[str, int]]) -> None:
        del self._asking[name]
        if not asked.cancelled():
            asked.exception()  # somebody knows of it, even when all who asked have given up

    async def _ask(self, name: str) -> tuple[str, int]:
        """Ask all of them. A sentinel that is slower than most is not waited for."""
        tasks = [asyncio.ensure_future(sentinel.sentinel_master(name)) for sentinel in self._asked]
        try:
            done: set[asyncio.Future[Any]] = set()
            pending = set(tasks)
            while pending and len([task for task in done if not task.exception()]) <= len(tasks) // 2:
                ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                done |= ended
            if pending:
                done |= (await asyncio.wait(pending, timeout=LATE_SECONDS))[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        states = [task.result() for task in done if not task.exception()]
        if states:
            newest = max(states, key=lambda state: int(state["config-epoch"]))
            if newest["is_master"] and not newest["is_sdown"] and not newest["is_odown"]:
                return str(newest["ip"]), int(newest["port"])
        failures = ", ".join(repr(task.exception()) for task in done if task.exception())
        raise MasterNotFoundError(f"No master found for {name!r} {failures}".rstrip())


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
    database = parts.path.strip("/")
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or not (database or "0").isdecimal():
        raise ValueError("a Redis URL is redis://host:port, or rediss://host:port for TLS")
    login = {"username": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    return Place(
        parts.hostname,
        parts.port or default_port,
        parts.scheme == "rediss",
        int(database or "0"),
        {name: value for name, value in login.items() if value},
    )


def places(settings: RedisSettings) -> list[Place]:
    """The URLs of the settings. Raises ValueError when one is none, or there is none."""
    found = [place(url, SENTINEL_PORT if settings.sentinel_master else DEFAULT_PORT) for url in settings.urls]
    if not found:
        raise ValueError("no Redis URL is given")
    return found


def server_at(settings: RedisSettings, there: Place) -> Server:
    """The client of one server."""
    redis = Redis(
        host=there.host,
        port=there.port,
        db=there.database,
        **{**there.login, **own_login(settings)},
        **options(settings, tls=there.tls),
    )
    return Server(redis, settings.connections)


def sentinel_master(settings: RedisSettings, known: Sequence[Place]) -> Server:
    """The client of whatever server the sentinels name as master; it asks them for each new connection."""
    shared = options(settings, tls=known[0].tls)
    asked = [Redis(host=there.host, port=there.port, **there.login, **shared) for there in known]
    place_of_master = {"service_name": settings.sentinel_master, "sentinel_manager": Sentinels(asked)}
    login = own_login(settings)
    pool = SentinelConnectionPool(**place_of_master, db=known[0].database, **login, **shared)  # type: ignore[no-untyped-call]
    return Server(Redis.from_pool(pool), settings.connections, asked)


def own_login(settings: RedisSettings) -> dict[str, Any]:
    given = {"username": settings.user, "password": settings.password}
    return {name: value for name, value in given.items() if value}


def options(settings: RedisSettings, *, tls: bool) -> dict[str, Any]:
    """What is said of every connection."""
    found: dict[str, Any] = {
        "socket_connect_timeout": settings.timeout,
        "socket_timeout": settings.timeout,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "client_name": "posthorn",
    }
    if tls:
        found |= {
            "ssl": True,
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
            "ssl_ca_certs": settings.tls_ca,
            "ssl_certfile": settings.tls_cert,
            "ssl_keyfile": settings.tls_key,
        }
    return found
