"""The connection to a remote: whatever ends it is a ChannelLost whose text may be told to the sender. Knows no SMTP."""

import asyncio
import ssl
from collections.abc import Sequence

from posthorn_node.stream.connection import Connection, ConnectionLost

MAX_INPUT = 65_536
"""Octets held before reading pauses: a remote that babbles is not listened to faster than it is read."""


class ChannelLost(Exception):
    """The connection cannot be used: not made, closed, timed out. The text is ours and says why."""


class Channel:
    """A connection as `receive` and `send`; only one task may use it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def pending(self) -> bool:
        """The remote has sent something that nobody has read, or has closed."""
        return self._connection.pending

    @property
    def lost(self) -> "asyncio.Future[None]":
        """Done when the connection is over."""
        return self._connection.lost

    def peer(self) -> str:
        """The remote's IP address. Raises ChannelLost."""
        try:
            return self._connection.peer
        except ConnectionLost as error:
            raise ChannelLost(str(error)) from None

    def tls(self) -> str:
        """TLS version and cipher, "" in plain text."""
        return self._connection.cipher

    def local(self) -> str:
        """Our own IP address; "" when the connection is over."""
        return self._connection.local

    def certificates(self) -> Sequence[bytes]:
        """What the remote showed in the handshake, in DER, its own first."""
        return self._connection.certificates

    async def receive(self, timeout: float) -> bytes:
        """The octets that are there, at least one; raises ChannelLost at the end or after `timeout` seconds."""
        try:
            data = await self._connection.receive(timeout)
        except TimeoutError:
            raise ChannelLost("timed out waiting for the remote") from None
        if not data:
            raise ChannelLost("the remote closed the connection")
        return data

    async def send(self, data: bytes, timeout: float) -> None:
        """Write, and wait while the remote does not keep up; raises ChannelLost."""
        try:
            await self._connection.send(data, timeout)
        except ConnectionLost as error:
            raise ChannelLost(str(error)) from None

    async def start_tls(self, context: ssl.SSLContext, hostname: str, timeout: float) -> None:
        """Handshake as client; raises ChannelLost. Plain text that is already there is an injection and ends it."""
        try:
            await self._connection.start_tls(context, hostname, timeout)
        except ConnectionLost as error:
            raise ChannelLost(str(error)) from error

    def abort(self) -> None:
        """Close at once; the remote gets no end of data it has not got yet."""
        self._connection.abort()


async def open_channel(address: str, port: int, timeout: float, source: str | None = None) -> Channel:
    """Connect, from the address `source` if one is given; raises ChannelLost."""
    connection = Connection(MAX_INPUT)
    local = None if source is None else (source, 0)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().create_connection(lambda: connection, address, port, local_addr=local)
    except TimeoutError:
        raise ChannelLost(f"timed out connecting to {address}") from None
    except OSError as error:
        raise ChannelLost(f"cannot connect to {address}: {error.strerror or error}") from error
    return Channel(connection)
