"""The load generator of the relay rows: an application that keeps its connections and writes to many sites in turn.

smtp-source knows one recipient: many sites would be as many processes with a few messages each, whose starts
would be measured too. This one pipelines (RFC 2920), as both servers that it is used with offer.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import cast

from bench.peers.peer import Peer
from bench.sending import Load

LINE = b"The quick brown fox jumps over the lazy dog, again and again, and.\r\n"
REPLIES = (b"250", b"250", b"354", b"250")
"""To MAIL, RCPT, DATA and the content."""
GREETINGS = (b"220", b"250")
LAST_SECONDS = 120.0
_serial = itertools.count()


async def mail(peer: Peer, load: Load, recipients: Sequence[str]) -> None:
    """Send a message to each recipient in turn until there are `load.messages`. Raises RuntimeError.

    A connection ends after `load.each` messages, if that is not 0, and another one is made.
    """
    turns = itertools.islice(itertools.cycle(recipients), load.messages)
    tasks = [asyncio.create_task(_keep_sending(peer, load, turns)) for _ in range(load.sessions)]
    try:
        async with asyncio.timeout(LAST_SECONDS):
            await asyncio.gather(*tasks)
    except (OSError, TimeoutError) as error:
        raise RuntimeError(f"{peer.name} does not take mail: {error}") from None
    finally:
        for task in tasks:
            task.cancel()


async def _keep_sending(peer: Peer, load: Load, turns: Iterator[str]) -> None:
    body = LINE * (load.size // len(LINE))
    while mine := list(itertools.islice(turns, load.each)) if load.each else turns:
        await _session(peer, load.sender, iter(mine), body)
        if not load.each:
            return


async def _session(peer: Peer, sender: str, recipients: Iterator[str], body: bytes) -> None:
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    await loop.create_connection(lambda: _Session(sender, recipients, body, over), peer.host, peer.port)
    await over


class _Session(asyncio.Protocol):
    """One connection; `over` is done when the server has closed it after the last message, or fails."""

    def __init__(self, sender: str, recipients: Iterator[str], body: bytes, over: "asyncio.Future[None]") -> None:
        self._sender = sender
        self._recipients = recipients
        self._body = body
        self._over = over
        self._rest = b""
        self._expected = list(GREETINGS)
        self._recipient = ""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-" and not self._over.done():
                self._answered(line)

    def connection_lost(self, _: Exception | None) -> None:
        if not self._over.done():
            self._over.set_exception(RuntimeError("the server has closed the connection"))

    def _answered(self, line: bytes) -> None:
        if not self._expected or not line.startswith(self._expected[0]):
            self._over.set_exception(RuntimeError(f"the server says: {line.decode(errors='replace')}"))
            self._transport.close()
            return
        code = self._expected.pop(0)
        if code == b"220":
            self._transport.write(b"EHLO bench.example.net\r\n")
        elif code == b"354":
            self._transport.write(self._content())
        elif code == b"221":
            self._over.set_result(None)
            self._transport.close()
        elif not self._expected:
            self._begin()

    def _begin(self) -> None:
        recipient = next(self._recipients, None)
        if recipient is None:
            self._expected = [b"221"]
            self._transport.write(b"QUIT\r\n")
            return
        self._recipient = recipient
        self._expected = list(REPLIES)
        self._transport.write(f"MAIL FROM:<{self._sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())

    def _content(self) -> bytes:
        n = next(_serial)
        head = (
            f"From: <{self._sender}>\r\nTo: <{self._recipient}>\r\nSubject: number {n}\r\n"
            f"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{n}.{time.time_ns()}@bench.example.net>\r\n\r\n"
        )
        return head.encode() + self._body + b".\r\n"
