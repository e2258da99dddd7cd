"""Connections to one filter, bounded in number and time, and kept for the next exchange where its protocol has that."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from posthorn_node.stream.connection import Connection, ConnectionLost
from posthorn_smtp_in.filters.settings import FilterTls, place_of

IDLE = 10.0
"""Seconds that an unused connection is kept; clamd ends a session after 30."""
MAX_IDLE = 16
CLOSE = 1.0

_Answer = TypeVar("_Answer")
Talk = Callable[[Connection, bool], Awaitable[tuple[_Answer, bool]]]
"""One exchange over a connection, new or not; returns the answer, and whether the connection can be used again."""


class FilterFailed(Exception):
    """A filter could not be reached, did not answer in time, or answered nonsense. The text says which, for the log."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a filter is."""

    address: tuple[str, int] | Path
    tls: ssl.SSLContext | None = None


def place(address: str, tls: FilterTls) -> Place:
    """The place that the settings name. Raises OSError, ssl.SSLError when the files of TLS cannot be used."""
    if not tls.enable:
        return Place(place_of(address))
    context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return Place(place_of(address), context)


class Channels:
    """The connections to one filter. Use as `async with channels.lease() as connection`."""

    def __init__(self, where: Place, *, limit: int, connect: float) -> None:
        self._where = where
        self._connect = connect
        self._free = asyncio.Semaphore(limit)
        self._idle: list[tuple[float, Connection]] = []

    async def ask(self, talk: Talk[_Answer]) -> _Answer:
        """Have one exchange.

        What was kept may have been closed by the filter meanwhile: then the exchange is tried once more, on a new one.
        Raises FilterFailed, and what `talk` raises.
        """
        async with self.slot():
            kept = self._take()
            if kept is not None:
                try:
                    return await self._exchange(kept, talk, new=False)
                except (FilterFailed, ConnectionLost):
                    pass
            try:
                return await self._exchange(await self.open(), talk, new=True)
            except ConnectionLost as lost:
                raise FilterFailed(f"the connection was lost: {lost}") from None

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place among the connections. Raises FilterFailed when none becomes free in time."""
        try:
            async with asyncio.timeout(self._connect):
                await self._free.acquire()
        except TimeoutError:
            raise FilterFailed("all its connections are in use") from None
        try:
            yield
        finally:
            self._free.release()

    async def open(self) -> Connection:
        """A new connection. Raises FilterFailed."""
        loop, tls = asyncio.get_running_loop(), self._where.tls
        connection = Connection()
        try:
            async with asyncio.timeout(self._connect):
                if isinstance(self._where.address, Path):
                    await loop.create_unix_connection(lambda: connection, str(self._where.address))
                else:
                    host, port = self._where.address
                    await loop.create_connection(lambda: connection, host, port, ssl=tls)
        except TimeoutError:
            raise FilterFailed("it takes too long to connect") from None
        except OSError as error:
            raise FilterFailed(f"cannot connect: {error.strerror or error}") from None
        return connection

    def keep(self, connection: Connection) -> None:
        """A connection that can be used again."""
        if len(self._idle) < MAX_IDLE:
            self._idle.append((time.monotonic(), connection))
        else:
            connection.begin_close()

    def _take(self) -> Connection | None:
        """The one that was used last, if it still lives."""
        while self._idle:
            since, connection = self._idle.pop()
            if not connection.pending and not connection.lost.done() and time.monotonic() - since < IDLE:
                return connection
            connection.abort()
        return None

    async def _exchange(self, connection: Connection, talk: Talk[_Answer], *, new: bool) -> _Answer:
        again = False
        try:
            answer, again = await talk(connection, new)
            return answer
        finally:
            if again:
                self.keep(connection)
            else:
                connection.abort()

    def close(self) -> None:
        """End those that nobody uses."""
        for _, connection in self._idle:
            connection.abort()
        self._idle.clear()
