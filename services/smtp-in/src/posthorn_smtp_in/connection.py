"""One TCP connection: bounded input, flow control both ways, TLS in place. Knows no SMTP."""

import asyncio
import ssl
from typing import cast

MAX_INPUT = 262_144
"""Octets held before reading from the socket pauses."""


class ConnectionLost(Exception):
    """The peer is gone, or does not take what is sent."""


class Interrupted(Exception):
    """`interrupt` ended a wait for input."""


class Connection(asyncio.Protocol):
    """A connection as two calls, `receive` and `send`; only one task may use it.

    Input sent ahead of `start_tls` is dropped (RFC 3207 4.2): nothing that came in plain text is seen after it.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._input = bytearray()
        self._ended = False
        self._paused = False
        self._interrupted = False
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.lost = asyncio.get_running_loop().create_future()

    @property
    def transport(self) -> asyncio.Transport:
        if self._transport is None:
            raise ConnectionLost
        return self._transport

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session, None in plain text."""
        found: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
        return found

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are not subclasses

    def data_received(self, data: bytes) -> None:
        self._input += data
        if len(self._input) > MAX_INPUT and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        _wake(self._readable)

    def eof_received(self) -> bool:
        self._ended = True
        _wake(self._readable)
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio passes it by position)
        self._ended = True
        _wake(self._readable)
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ConnectionLost())
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._writable)
        self._writable = None

    # What a session calls.

    async def receive(self, timeout: float) -> bytes:
        """The octets that are there, at least one; b"" at the end of the stream.

        Raises TimeoutError after `timeout` seconds, Interrupted after `interrupt`.
        """
        if not self._input and not self._ended and not self._interrupted:
            self._readable = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._readable
            finally:
                self._readable = None
        if not self._input and self._interrupted:
            self._interrupted = False
            raise Interrupted
        data = bytes(self._input)
        self._input.clear()
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return data

    async def send(self, data: bytes, timeout: float) -> None:
        """Write, and wait while the peer does not keep up; raises ConnectionLost."""
        if self.lost.done() or self.transport.is_closing():
            raise ConnectionLost
        self.transport.write(data)
        if self._writable is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self._writable
            except TimeoutError:
                raise ConnectionLost from None

    def interrupt(self) -> None:
        """End the current (or next) wait for input with Interrupted."""
        self._interrupted = True
        _wake(self._readable)

    async def start_tls(self, context: ssl.SSLContext, timeout: float) -> None:
        """Handshake as server; raises ConnectionLost when it fails."""
        self._input.clear()
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                self.transport, self, context, server_side=True, ssl_handshake_timeout=timeout
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._give_up()
            raise ConnectionLost(f"TLS handshake failed: {error}") from error
        if transport is None:
            self._give_up()
            raise ConnectionLost("TLS handshake failed")
        self._transport = transport

    def _give_up(self) -> None:
        """After a failed handshake asyncio tells nobody that the connection is over."""
        self.transport.abort()
        if not self.lost.done():
            self.lost.set_result(None)

    async def close(self, timeout: float) -> None:
        """Send what is left and close; after `timeout` seconds the rest is dropped."""
        if self._transport is None or self.lost.done():
            return
        self._transport.close()
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self.lost)
        except TimeoutError:
            self._transport.abort()


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
