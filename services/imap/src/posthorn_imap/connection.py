"""One TCP connection: bounded input, flow control both ways, TLS in place, and a way to be woken. Knows no IMAP."""

import asyncio
import ssl
from typing import cast

MAX_INPUT = 262_144
"""Octets held before reading from the socket pauses."""
MAX_OUTPUT = 131_072
"""Octets gathered before they are sent."""


class ConnectionLost(Exception):
    """The peer is gone, or does not take what is sent."""


class Connection(asyncio.Protocol):
    """A connection as calls of one task: `receive`, `write`, `flush`. `wake` may come from anywhere in the loop."""

    def __init__(self, write_limit: float) -> None:
        self._write_limit = write_limit
        self._transport: asyncio.Transport | None = None
        self._input = bytearray()
        self._output = bytearray()
        self._ended = False
        self._paused = False
        self._woken = False
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.lost = asyncio.get_running_loop().create_future()

    @property
    def transport(self) -> asyncio.Transport:
        if self._transport is None:
            raise ConnectionLost
        return self._transport

    @property
    def encrypted(self) -> bool:
        return self.transport.get_extra_info("ssl_object") is not None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, only of the same shape.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._input += data
        if len(self._input) > MAX_INPUT and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        _release(self._readable)

    def eof_received(self) -> bool:
        self._ended = True
        _release(self._readable)
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self._ended = True
        _release(self._readable)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _release(self._writable)
        self._writable = None

    # What a session calls.

    async def receive(self, timeout: float) -> bytes | None:
        """What has come, at least one octet; None after `wake`.

        Raises TimeoutError after `timeout` seconds, ConnectionLost at the end of the stream.
        """
        if not (self._input or self._ended or self._woken):
            self._readable = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._readable
            finally:
                self._readable = None
        if self._woken and not self._input:
            self._woken = False
            return None
        if not self._input:
            raise ConnectionLost
        data = bytes(self._input)
        self._input.clear()
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return data

    def wake(self) -> None:
        """End the current (or next) `receive` with None."""
        self._woken = True
        _release(self._readable)

    def write(self, data: bytes | memoryview) -> None:
        """Gather output."""
        self._output += data

    async def flow(self) -> None:
        """Send when much is gathered."""
        if len(self._output) >= MAX_OUTPUT:
            await self.flush()

    async def flush(self) -> None:
        """Send what is gathered and wait while the peer does not keep up. Raises ConnectionLost."""
        if not self._output:
            return
        if self.lost.done() or self.transport.is_closing():
            raise ConnectionLost
        data, self._output = self._output, bytearray()
        self.transport.write(data)
        waiter = self._writable
        if waiter is None:
            return
        try:
            async with asyncio.timeout(self._write_limit):
                await waiter
        except TimeoutError:
            self.transport.abort()
            raise ConnectionLost("the client does not read") from None
        if self.lost.done():
            raise ConnectionLost

    async def start_tls(self, context: ssl.SSLContext, timeout: float) -> None:
        """Send what is gathered and handshake as server. Raises ConnectionLost.

        Input sent ahead of the handshake is dropped (RFC 9051 6.2.1); reading stops before the last words in plain
        text go out, so that nothing of the handshake is.
        """
        self.transport.pause_reading()
        self._input.clear()
        await self.flush()
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                self.transport, self, context, server_side=True, ssl_handshake_timeout=timeout
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            raise ConnectionLost(str(error)) from error
        if transport is None:
            raise ConnectionLost
        self._transport = transport
        self._paused = False

    async def close(self, timeout: float) -> None:
        """Close; after `timeout` seconds what was not taken is dropped."""
        if self._transport is None or self.lost.done():
            return
        self._transport.close()
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self.lost)
        except TimeoutError:
            self._transport.abort()


def _release(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
