"""One TCP connection: bounded input, flow control both ways, TLS in place, time limits. Knows no protocol."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import cast

MAX_INPUT = 262_144
"""Octets held before reading from the socket pauses, unless told otherwise."""
_DER = 2
"""ENCODING_DER of the module `_ssl`."""


class ConnectionLost(Exception):
    """The peer is gone, does not take what is sent, or failed at TLS. The text says which."""


class Interrupted(Exception):
    """`interrupt` ended a wait for input."""


class Connection(asyncio.Protocol):
    """A connection as two calls, `receive` and `send`, of one task; `interrupt` may come from anywhere in the loop.

    `lost` is done when the connection is over.
    """

    def __init__(self, max_input: int = MAX_INPUT) -> None:
        self._max_input = max_input
        self._transport: asyncio.Transport | None = None
        self._input = bytearray()
        self._ended = False
        self._paused = False
        self._interrupted = False
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's, only of the same shape.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._input += data
        if len(self._input) > self._max_input and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        _wake(self._readable)

    def eof_received(self) -> bool:
        self._ended = True
        _wake(self._readable)
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio passes it by position)
        self._over()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._writable)
        self._writable = None

    # What its task asks.

    @property
    def pending(self) -> bool:
        """The peer has sent something that nobody has read, or has closed."""
        return bool(self._input) or self._ended

    @property
    def peer(self) -> str:
        """The peer's IP address. Raises ConnectionLost."""
        return str(self._live().get_extra_info("peername")[0])

    @property
    def local(self) -> str:
        """Our own IP address, "" when there is no connection."""
        name = None if self._transport is None else self._transport.get_extra_info("sockname")
        return str(name[0]) if name else ""

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on. Raises ConnectionLost when the connection was never made."""
        return self._tls() is not None

    @property
    def cipher(self) -> str:
        """TLS version and cipher, "" in plain text. Raises ConnectionLost when the connection was never made."""
        tls = self._tls()
        if tls is None:
            return ""
        cipher = tls.cipher()
        return f"{tls.version()} {cipher[0]}" if cipher else str(tls.version())

    @property
    def certificates(self) -> Sequence[bytes]:
        """What the peer showed in the handshake, in DER, its own first; nothing says that any of it is true.

        Raises ConnectionLost when the connection was never made.
        """
        tls = self._tls()
        if tls is None:
            return []
        # Python 3.13 made this a method of SSLObject; before, it is only there one layer down.
        chain = tls._sslobj.get_unverified_chain() or []  # type: ignore[attr-defined]
        return [each.public_bytes(_DER) for each in chain]

    @property
    def bindings(self) -> Mapping[str, bytes]:
        """What a login on this connection can be bound to, by the registered names of channel bindings (RFC 5056).

        Python's ssl cannot export keying material, so "tls-exporter" (RFC 9266) is not among them, and "tls-unique" is
        not defined for TLS 1.3; what is left is the certificate that was shown. Raises ConnectionLost.
        """
        tls = self._tls()
        end_point: bytes = getattr(tls.context, "end_point", b"") if tls is not None else b""
        return {"tls-server-end-point": end_point} if end_point else {}

    # What its task does.

    async def receive(self, timeout: float) -> bytes:
        """The octets that are there, at least one; b"" at the end of the stream.

        Raises TimeoutError after `timeout` seconds, Interrupted after `interrupt` when nothing is there.
        """
        if not (self._input or self._ended or self._interrupted):
            loop = asyncio.get_running_loop()
            self._readable = loop.create_future()
            # Not asyncio.timeout, which costs several times as much, for every command of every session.
            timer = loop.call_later(timeout, _too_late, self._readable)
            try:
                await self._readable
            finally:
                timer.cancel()
                self._readable = None
        if self._interrupted and not self._input:
            self._interrupted = False
            raise Interrupted
        data = bytes(self._input)
        self._input.clear()
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return data

    def interrupt(self) -> None:
        """End the current (or next) wait for input with Interrupted."""
        self._interrupted = True
        _wake(self._readable)

    async def send(self, data: bytes | bytearray, timeout: float) -> None:
        """Write, and wait while the peer does not keep up. `data` must not be changed afterwards.

        Raises ConnectionLost, also when the peer takes nothing for `timeout` seconds; what is left stays to be sent.
        """
        self._live().write(data)
        waiter = self._writable
        if waiter is None:
            return
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            raise ConnectionLost("timed out sending") from None
        if self.lost.done():
            raise ConnectionLost("connection lost")

    async def accept_tls(self, context: ssl.SSLContext, last: bytes | bytearray, *, send: float, tls: float) -> None:
        """Send the last words in plain text, within `send` seconds, and handshake as server, within `tls` seconds.

        Input sent ahead of the handshake is dropped: nothing that came in plain text is seen after it. Reading stops
        before the last words go out, so that nothing of the handshake is dropped with it. Raises ConnectionLost.
        """
        self._live().pause_reading()
        self._input.clear()
        if last:
            await self.send(last, send)
        await self._handshake(context, tls, server=True, hostname=None)

    async def start_tls(self, context: ssl.SSLContext, hostname: str, timeout: float) -> None:
        """Handshake as client; an empty host name is not checked. Raises ConnectionLost.

        Plain text that is already there would be an injection and ends it.
        """
        if self.pending:
            raise ConnectionLost("the peer spoke between its reply and TLS")
        await self._handshake(context, timeout, server=False, hostname=hostname or None)

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

    def begin_close(self) -> None:
        """Close when what was sent is gone, without waiting for it."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what the peer has not got yet it does not get."""
        if self._transport is not None:
            self._transport.abort()

    async def _handshake(self, context: ssl.SSLContext, timeout: float, *, server: bool, hostname: str | None) -> None:
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self._live(),
                self,
                context,
                server_side=server,
                server_hostname=hostname,
                ssl_handshake_timeout=timeout,
            )
        except (OSError, TimeoutError) as error:
            self._give_up()
            raise ConnectionLost(f"TLS handshake failed: {error}") from error
        if transport is None:
            self._give_up()
            raise ConnectionLost("TLS handshake failed")
        self._transport = transport
        self._paused = False

    def _give_up(self) -> None:
        """After a failed handshake asyncio tells nobody that the connection is over."""
        self.abort()
        self._over()

    def _over(self) -> None:
        self._ended = True
        _wake(self._readable)
        _wake(self._writable)
        _wake(self.lost)

    def _live(self) -> asyncio.Transport:
        if self._transport is None or self.lost.done() or self._transport.is_closing():
            raise ConnectionLost("connection lost")
        return self._transport

    def _tls(self) -> ssl.SSLObject | None:
        if self._transport is None:
            raise ConnectionLost("connection lost")
        found: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        return found


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _too_late(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
