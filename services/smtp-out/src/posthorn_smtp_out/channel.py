"""One TCP connection to a remote: bounded input, flow control, TLS in place, time limits. Knows no SMTP."""

import asyncio
import ssl
from typing import cast

MAX_INPUT = 65_536
"""Octets held before reading pauses: a remote that babbles is not listened to faster than it is read."""


class ChannelLost(Exception):
    """The connection cannot be used: not made, closed, timed out. The text is ours and says why."""


class Channel(asyncio.Protocol):
    """A connection as `receive` and `send`; only one task may use it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._input = bytearray()
        self._ended = False
        self._paused = False
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

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
            self._writable.set_exception(ChannelLost("connection lost"))

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._writable)
        self._writable = None

    # What a client calls.

    @property
    def pending(self) -> bool:
        """The remote has sent something that nobody has read, or has closed."""
        return bool(self._input) or self._ended

    def peer(self) -> str:
        """The remote's IP address."""
        return str(self._live().get_extra_info("peername")[0])

    def tls(self) -> str:
        """TLS version and cipher, "" in plain text."""
        found: ssl.SSLObject | None = self._live().get_extra_info("ssl_object")
        if found is None:
            return ""
        cipher = found.cipher()
        return f"{found.version()} {cipher[0]}" if cipher else str(found.version())

    async def receive(self, timeout: float) -> bytes:
        """The octets that are there, at least one; raises ChannelLost at the end or after `timeout` seconds."""
        if not self._input and not self._ended:
            self._readable = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._readable
            except TimeoutError:
                raise ChannelLost("timed out waiting for the remote") from None
            finally:
                self._readable = None
        if not self._input:
            raise ChannelLost("the remote closed the connection")
        data = bytes(self._input)
        self._input.clear()
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return data

    async def send(self, data: bytes, timeout: float) -> None:
        """Write, and wait while the remote does not keep up; raises ChannelLost."""
        transport = self._live()
        transport.write(data)
        if self._writable is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self._writable
            except TimeoutError:
                raise ChannelLost("timed out sending to the remote") from None

    async def start_tls(self, context: ssl.SSLContext, hostname: str, timeout: float) -> None:
        """Handshake as client; raises ChannelLost. Plain text that is already there is an injection and ends it."""
        if self.pending:
            raise ChannelLost("the remote spoke between its reply and TLS")
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self._live(), self, context, server_hostname=hostname or None, ssl_handshake_timeout=timeout
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self.abort()
            raise ChannelLost(f"TLS handshake failed: {error}") from error
        if transport is None:
            raise ChannelLost("TLS handshake failed")
        self._transport = transport

    def close(self) -> None:
        """Close after what was written has gone."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; the remote gets no end of data it has not got yet."""
        if self._transport is not None:
            self._transport.abort()

    def _live(self) -> asyncio.Transport:
        if self._transport is None or self._transport.is_closing():
            raise ChannelLost("connection lost")
        return self._transport


async def open_channel(address: str, port: int, timeout: float) -> Channel:
    """Connect; raises ChannelLost."""
    try:
        async with asyncio.timeout(timeout):
            _, channel = await asyncio.get_running_loop().create_connection(Channel, address, port)
    except TimeoutError:
        raise ChannelLost(f"timed out connecting to {address}") from None
    except OSError as error:
        raise ChannelLost(f"cannot connect to {address}: {error.strerror or error}") from error
    return channel


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
