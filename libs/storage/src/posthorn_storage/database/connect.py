"""How a connection is made: which host of the DSN, with which limits, and how a host that vanished is noticed.

asyncpg tries the hosts of a DSN in their order with one time limit for all, so that one which does not even refuse
would keep the others from being asked. Here each has its part of the time, and the one that answered last comes first.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from posthorn_storage.database.limits import DatabaseLimits

KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 15_000}
"""Seconds (the last: milliseconds, a count in between) until a host that is gone without a word counts as gone."""
READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool"
_NEXT_HOST = (
    OSError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidCatalogNameError,
)
"""What is wrong with one host and may be right with the next: unreachable, starting, ending, not the primary, or a
standby that has not heard yet that the database was created."""


class Kept(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose socket is watched: a host that lost its power sends no reset."""

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        wire = transport.get_extra_info("socket")
        if wire is None or wire.family == socket.AF_UNIX:
            return
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                if hasattr(socket, name):
                    wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def hosts_of(dsn: str) -> tuple[str, ...]:
    """One DSN for each host of a `postgresql://` DSN, in order; itself when its hosts are in no such list."""
    parts = urlsplit(dsn)
    login, at, places = parts.netloc.rpartition("@")
    if "," not in places:
        return (dsn,)
    return tuple(parts._replace(netloc=f"{login}{at}{place}").geturl() for place in places.split(",") if place)


class Hosts:
    """Connects to the host that is the `target`: a word of libpq's target_session_attrs; one in the DSN goes first."""

    def __init__(self, dsn: str, limits: DatabaseLimits, *, target: str) -> None:
        self._dsns = hosts_of(dsn)
        self._each = limits.connect / len(self._dsns)
        self._last = 0
        given = parse_qs(urlsplit(dsn).query).get("target_session_attrs")
        self._target = given[-1] if given else target
        self._pooled = limits.mode == "transaction"

    async def connect(self, *_dsn: str, **options: Any) -> Any:
        """What asyncpg's pool calls for a new connection. Raises what the host said, or what was wrong with each."""
        failures: list[Exception] = []
        for step in range(len(self._dsns)):
            number = (self._last + step) % len(self._dsns)
            try:
                connection = await (self._pooled_one if self._pooled else self._one)(self._dsns[number], options)
            except _NEXT_HOST as error:
                failures.append(error)
            else:
                self._last = number
                return connection
        if len(failures) == 1:
            raise failures[0]
        raise ConnectionError("; ".join(f"{type(error).__name__}: {error}" for error in failures)) from failures[-1]

    async def _one(self, dsn: str, options: dict[str, Any]) -> Any:
        return await asyncpg.connect(dsn, target_session_attrs=self._target, timeout=self._each, **options)

    async def _pooled_one(self, dsn: str, options: dict[str, Any]) -> Any:
        """Through a pooler: what it says of itself at the start is not the server's, who is asked in a transaction."""
        async with asyncio.timeout(self._each):
            connection = await asyncpg.connect(dsn, target_session_attrs="any", timeout=self._each, **options)
            try:
                if self._target in ("read-write", "primary"):
                    async with connection.transaction():
                        if await connection.fetchval(READ_ONLY):
                            raise asyncpg.TargetServerAttributeNotMatched("the server takes no writes")
            except BaseException:
                connection.terminate()
                raise
            return connection


async def connect_alone(dsn: str, seconds: float) -> Any:
    """One connection to that host of the DSN which takes writes, for what needs no pool.

    Raises OSError, asyncpg.PostgresError.
    """
    try:
        return await Hosts(dsn, DatabaseLimits(connect=seconds), target="read-write").connect()
    except asyncpg.InternalClientError as error:
        raise ConnectionError(str(error)) from error


def server_settings(limits: DatabaseLimits) -> dict[str, str]:
    """What every session is started with. A pooler refuses all but a few."""
    start = {"application_name": "posthorn", "timezone": "UTC"}
    return start if limits.mode == "transaction" else start | transaction_settings(limits)


def transaction_settings(limits: DatabaseLimits) -> dict[str, str]:
    """What holds in every transaction: told to the session at its start, or else to each transaction."""
    return {
        "synchronous_commit": "on",  # design law 2
        "statement_timeout": f"{int(limits.statement * 1000)}",
        "lock_timeout": f"{int(limits.lock * 1000)}",
        "idle_in_transaction_session_timeout": f"{int(limits.idle * 1000)}",
        "jit": "off",
    }
