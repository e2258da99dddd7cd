"""The connection of a mailbox-access client: output is gathered, and a session can be woken. Knows no IMAP."""

import ssl
from collections.abc import Mapping

from posthorn_node.stream.connection import Connection, ConnectionLost, Interrupted

MAX_OUTPUT = 131_072
"""Octets gathered before they are sent."""


class ClientConnection:
    """A connection as calls of one task: `receive`, `write`, `flush`. `wake` may come from anywhere in the loop.

    `write_limit` is how many seconds the client may take nothing of what is sent.
    """

    def __init__(self, connection: Connection, write_limit: float) -> None:
        self._connection = connection
        self._write_limit = write_limit
        self._output = bytearray()

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        return self._connection.encrypted

    @property
    def bindings(self) -> Mapping[str, bytes]:
        """What a login can be bound to; as of posthorn_node's Connection."""
        return self._connection.bindings

    async def receive(self, timeout: float) -> bytes | None:
        """What has come, at least one octet; None after `wake`.

        Raises TimeoutError after `timeout` seconds, ConnectionLost at the end of the stream.
        """
        try:
            data = await self._connection.receive(timeout)
        except Interrupted:
            return None
        if not data:
            raise ConnectionLost("the client closed the connection")
        return data

    def wake(self) -> None:
        """End the current (or next) `receive` with None."""
        self._connection.interrupt()

    def write(self, data: bytes | memoryview) -> None:
        """Gather output."""
        self._output += data

    async def flow(self) -> None:
        """Send when much is gathered."""
        if len(self._output) >= MAX_OUTPUT:
            await self.flush()

    async def flush(self) -> None:
        """Send what is gathered and wait while the client does not keep up. Raises ConnectionLost."""
        if not self._output:
            return
        data, self._output = self._output, bytearray()
        try:
            await self._connection.send(data, self._write_limit)
        except ConnectionLost:
            self._connection.abort()
            raise

    async def start_tls(self, context: ssl.SSLContext, timeout: float) -> None:
        """Send what is gathered and handshake as server. Raises ConnectionLost.

        Input sent ahead of the handshake is dropped (RFC 9051 6.2.1).
        """
        last, self._output = self._output, bytearray()
        await self._connection.accept_tls(context, last, send=self._write_limit, tls=timeout)

    async def close(self, timeout: float) -> None:
        """Close; after `timeout` seconds what was not taken is dropped."""
        await self._connection.close(timeout)
