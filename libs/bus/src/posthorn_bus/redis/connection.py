"""One connection to a Redis server by redis-py, which connects once: what it would repair is what a Gap must tell."""

import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

from posthorn_bus.broadcast.wire import Cut
from posthorn_bus.settings import RedisSettings, Server
from posthorn_bus.tls import tls_context

CONNECT = 4.0
"""Seconds."""


def import_redis() -> None:
    """Raises ImportError that says what to install."""
    try:
        import redis.asyncio  # noqa: F401
    except ImportError as error:
        raise ImportError("Redis as the coordinator needs redis-py: install posthorn-bus[redis]") from error


class Connections:
    """How all connections are opened. Raises OSError or ssl.SSLError for certificates that cannot be read."""

    def __init__(self, settings: RedisSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        if settings.tls is not None:
            tls_context(settings.tls)  # now, and not when the first connection is opened

    def new(self, server: Server, *, sentinel: bool) -> Any:
        """A redis-py connection that is not open yet."""
        from redis.asyncio.connection import Connection, SSLConnection

        settings = self._settings
        user, password = (
            (settings.sentinel_user, settings.sentinel_password) if sentinel else (settings.user, settings.password)
        )
        options: dict[str, Any] = {
            "host": server.host,
            "port": server.port,
            "username": user or None,
            "password": password or None,
            "client_name": self._name,
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": CONNECT,
        }
        if settings.tls is None:
            return Connection(**options)
        return SSLConnection(
            **options,
            ssl_min_version=ssl.TLSVersion.TLSv1_2,
            ssl_check_hostname=settings.tls.check_hostname,
            ssl_ca_certs=str(settings.tls.ca) if settings.tls.ca else None,
            ssl_certfile=str(settings.tls.certificate) if settings.tls.certificate else None,
            ssl_keyfile=str(settings.tls.key) if settings.tls.key else None,
        )


class Line:
    """One connection. Raises Cut when it is over, from every method but `close`; an answer is waited for as long as it
    takes.
    """

    def __init__(self, connections: Connections, server: Server, what: str, *, sentinel: bool = False) -> None:
        self.place = f"{what} at {server.host}:{server.port}"
        self._connection = connections.new(server, sentinel=sentinel)

    async def connect(self) -> None:
        with self._cutting():
            await self._connection.connect()

    async def send(self, *commands: tuple[Any, ...]) -> None:
        with self._cutting():
            if not self._connection.is_connected:
                # The library would connect anew, as if nothing had been missed.
                raise ConnectionError("the connection was lost")
            await self._connection.send_packed_command(self._connection.pack_commands(commands))

    async def answer(self) -> Any:
        with self._cutting():
            return await self._connection.read_response(disable_decoding=True)

    async def ask(self, *command: Any) -> Any:
        await self.send(command)
        return await self.answer()

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            await self._connection.disconnect(nowait=True)

    @contextlib.contextmanager
    def _cutting(self) -> Iterator[None]:
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError) as error:
            raise Cut(f"{self.place}: {str(error) or type(error).__name__}") from error
