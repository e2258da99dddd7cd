"""The connection of a mailbox-access client: output is gathered, and a session can be woken. Knows no IMAP."""

import asyncio
import ssl
from collections.abc import Awaitable, Mapping

from posthorn_imap.protocol.deflate import Deflate, DeflateProblem
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
        self._deflate: Deflate | None = None

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        return self._connection.encrypted

    @property
    def bindings(self) -> Mapping[str, bytes]:
        """What a login can be bound to; as of posthorn_node's Connection."""
        return self._connection.bindings

    @property
    def compressed(self) -> bool:
        """Whether both sides compress what they send."""
        return self._deflate is not None

    async def compress(self, ahead: bytes) -> None:
        """Send what is gathered, and compress from here on; `ahead` was received already and is compressed.

        Raises ConnectionLost.
        """
        await self.flush()
        self._deflate = Deflate()
        self._deflate.feed(ahead)

    def receive(self, timeout: float) -> Awaitable[bytes | None]:
        """What has come, at least one octet; None after `wake`.

        Raises TimeoutError after `timeout` seconds, ConnectionLost at the end of the stream, or where compressed
        octets cannot be read.
        """
        # One coroutine less to hold for every idle client.
        return self._receive(timeout) if self._deflate is None else self._inflated(self._deflate, timeout)

    async def _inflated(self, deflate: Deflate, timeout: float) -> bytes | None:
        try:
            async with asyncio.timeout(timeout):
                while not (data := deflate.take()):
                    packed = await self._receive(timeout)
                    if packed is None:
                        return None
                    deflate.feed(packed)
                await asyncio.sleep(0)  # a few octets may stand for megabytes: other clients have their turn between
        except DeflateProblem as problem:
            raise ConnectionLost(str(problem)) from problem
        return data

    async def _receive(self, timeout: float) -> bytes | None:
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
        data: bytes | bytearray = self._output
        self._output = bytearray()
        if self._deflate is not None:
            data = self._deflate.pack(data)
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
