"""An IMAP client that costs a measurement little: it counts octets, keeps the end, and looks for the tagged line."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from bench.peers.imap_peer import PASSWORD, ImapPeer

KEPT = 4096
"""Octets of the end of an answer."""
PATIENCE = 120.0
"""Seconds for one answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command was answered with: times in milliseconds from when it was sent."""

    first: float
    whole: float
    octets: int
    end: bytes


class Client(asyncio.Protocol):
    """One connection; one command at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._tags = 0
        self._end = b""
        self._octets = 0
        self._first = 0.0
        self._wanted: bytes | None = None
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._first:
            self._first = time.perf_counter()
        self._octets += len(data)
        self._end = (self._end + data)[-KEPT:] if len(data) < KEPT else data[-KEPT:]
        if self._wanted is None or self._done is None or self._done.done():
            return
        if b"\n" + self._wanted in self._end and self._end.endswith(b"\r\n"):
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError(f"the server hung up: {self._end[-200:]!r}"))

    async def until(self, wanted: bytes, send: bytes = b"") -> Reply:
        """Send, then wait for a line that begins so."""
        assert self._transport is not None
        self._done = asyncio.get_running_loop().create_future()
        self._end, self._octets, self._first, self._wanted = b"\n", 0, 0.0, wanted
        begun = time.perf_counter()
        self._transport.write(send)
        async with asyncio.timeout(PATIENCE):
            await self._done
        ended = time.perf_counter()
        return Reply((self._first - begun) * 1000, (ended - begun) * 1000, self._octets, self._end)

    async def command(self, text: bytes, *, may_fail: bool = False) -> Reply:
        """Send a command and wait for its answer. Raises RuntimeError unless it is OK, or `may_fail`."""
        self._tags += 1
        tag = b"t%d " % self._tags
        reply = await self.until(tag, tag + text + b"\r\n")
        if not may_fail and b"\n" + tag + b"OK" not in reply.end:
            raise RuntimeError(f"{text[:80]!r} was answered with {reply.end[-300:]!r}")
        return reply

    async def idle(self) -> Reply:
        """IDLE, and DONE as soon as it began."""
        self._tags += 1
        tag = b"t%d " % self._tags
        await self.until(b"+", tag + b"IDLE\r\n")
        return await self.until(tag, b"DONE\r\n")

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


async def connected(peer: ImapPeer, *, tls: bool = False) -> Client:
    """A connection that has heard the greeting."""
    context: ssl.SSLContext | None = None
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = Client()
    client._wanted, client._done = b"* OK", asyncio.get_running_loop().create_future()
    client._end = b"\n"
    await asyncio.get_running_loop().create_connection(
        lambda: client, peer.host, peer.tls_port if tls else peer.port, ssl=context
    )
    async with asyncio.timeout(PATIENCE):
        await client._done
    return client


async def logged_in(peer: ImapPeer, user: int = 0, *, tls: bool = False) -> Client:
    """A connection of one of the users."""
    client = await connected(peer, tls=tls)
    await client.command(b'LOGIN "%s" "%s"' % (peer.user(user).encode(), PASSWORD.encode()))
    return client


async def appended(client: Client, mailbox: bytes, letters: Sequence[bytes], at_once: int = 100) -> None:
    """APPEND messages, many at once (RFC 3502)."""
    for start in range(0, len(letters), at_once):
        texts = (b" {%d+}\r\n" % len(letter) + letter for letter in letters[start : start + at_once])
        await client.command(b"APPEND " + mailbox + b"".join(texts))
