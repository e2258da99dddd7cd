"""A conversation with one remote: greeting, EHLO or LHLO, STARTTLS, AUTH, then any number of transactions."""

import asyncio
import base64
import contextlib
import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from posthorn_smtp_out.channel import Channel, ChannelLost
from posthorn_smtp_out.protocol.capabilities import Capabilities, read_capabilities
from posthorn_smtp_out.protocol.content import END, stuffed
from posthorn_smtp_out.protocol.replies import Reply, ReplyFault, ReplyReader
from posthorn_smtp_out.protocol.transaction import Step, Transaction
from posthorn_smtp_out.settings import SendTimes
from posthorn_smtp_out.tls.faults import Fault, handshake_fault

BLOCK = 262_144
"""Octets of content written at once."""
TOGETHER = 16_384
"""Content up to so many octets waits for the leave to end it and goes out with its end: it arrives in about
one flight, so that sending it ahead would save little, and one write costs both sides less than two."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to a relay."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Manners:
    """How we introduce ourselves and what we insist on."""

    hello: str
    tls: Literal["none", "opportunistic", "required", "implicit"]
    """"implicit": the handshake comes before the greeting (RFC 8314 3)."""
    times: SendTimes
    context: ssl.SSLContext
    login: Login | None = None
    lmtp: bool = False
    chunking: bool = True
    """Whether BDAT is used where it is offered."""
    because: str = "the settings"
    """Who asks for TLS, in replies that people read."""
    name: str = ""
    """The name that the handshake asks for and checks; "": the host's."""
    proof: Callable[[Sequence[bytes]], Fault | None] | None = None
    """Judges the certificates that were shown, in DER, beside what `context` checks."""


class Unwilling(Exception):
    """The remote answers but will not talk to us now; `reply` says why."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(reply.text)


class TlsProblem(Unwilling):
    """There is no TLS with this remote, or not what must be; in plain text it may still be willing."""

    def __init__(self, fault: Fault, because: str) -> None:
        self.fault = fault
        status = "4.7.4" if fault.result == "starttls-not-supported" else "4.7.5"
        super().__init__(Reply(454, (f"{status} TLS is required by {because}: {fault.text}",)))


class Remote:
    """One open connection. `usable` turns False when it must not be used for another message."""

    def __init__(self, channel: Channel, host: str, port: int, manners: Manners) -> None:
        self._channel = channel
        self._manners = manners
        self._reader = ReplyReader()
        self._replies: list[Reply] = []
        self.capabilities = Capabilities()
        self.usable = True
        self.messages = 0
        self.name = f"{host} [{channel.peer()}]:{port}"
        self._host = host
        self.tls = ""

    @property
    def closed(self) -> "asyncio.Future[None]":
        """Done when the connection is over."""
        return self._channel.lost

    @property
    def fresh(self) -> bool:
        """The remote has said nothing since it was last asked: it has not closed while it was idle."""
        return self.usable and not self._channel.pending and not self._replies

    async def introduce(self) -> None:
        """Greeting to AUTH. Raises Unwilling (TlsProblem among it), ChannelLost, ReplyFault."""
        if self._manners.tls == "implicit":
            await self._handshake()
        greeting = await self._read(self._manners.times.greeting)
        if greeting.code != 220:
            raise Unwilling(greeting)
        await self._hello()
        if self._manners.tls not in ("none", "implicit") and self.capabilities.starttls:
            await self._start_tls()
        elif self._manners.tls == "required":
            raise self._problem(Fault("starttls-not-supported", "the remote does not offer it"))
        if self._manners.login is not None:
            await self._log_in(self._manners.login)

    async def send(
        self, transaction: Transaction, content: bytes, before_end: Callable[[Sequence[int]], Awaitable[bool]]
    ) -> bool:
        """Play one transaction; its `replies` are complete afterwards.

        `content` is in lines. `before_end` gets the ids of the accepted recipients when the content is on its way (or
        about to be, if it is small) and says whether its end may be sent (flows.md C.3); if not, the connection is cut,
        which cancels the message. Returns whether the remote may have it though it did not say so. Never raises for
        what it does.
        """
        self.messages += 1
        ended = False
        try:
            while lines := transaction.next_lines():
                await self._channel.send(lines, self._manners.times.block)
                while (step := transaction.awaited) is not None:
                    times = self._manners.times
                    transaction.feed(await self._read(times.data if step is Step.DATA else times.command))
            if transaction.content_wanted:
                ended = await self._content(transaction, content, before_end)
                while transaction.awaited is not None:
                    transaction.feed(await self._read(self._manners.times.end))
            if transaction.open and self.usable:
                await self._ask(b"RSET\r\n")
            if any(reply.code == 421 for reply in transaction.replies.values()):
                self._lose()
        except (ChannelLost, ReplyFault) as error:
            self._lose()
            transaction.give_up(Reply(451, (f"4.4.2 {error}",)))
            return ended
        return False

    async def quit(self, timeout: float = 2.0) -> None:
        """Say QUIT, and give the remote `timeout` seconds to close: what it counts as open is open no longer then."""
        self.usable = False
        with contextlib.suppress(ChannelLost, TimeoutError):
            async with asyncio.timeout(timeout):
                await self._channel.send(b"QUIT\r\n", timeout)
                while True:
                    await self._channel.receive(timeout)
        self._channel.abort()  # who does not close by itself must not keep a place among the connections

    def abort(self) -> None:
        """Cut the connection."""
        self._lose()

    async def _content(
        self, transaction: Transaction, content: bytes, before_end: Callable[[Sequence[int]], Awaitable[bool]]
    ) -> bool:
        """Send the content and its end; whether somebody was to get it."""
        accepted = [recipient.id for recipient in transaction.accepted]
        if self.capabilities.lmtp and not accepted:
            raise ChannelLost("the remote wants content for nobody")  # and no reply would tell its end (RFC 2033 4.2)
        end = END
        if transaction.chunked:  # all but the last octet: without it there is nothing to take
            wire = b"BDAT %d LAST\r\n%b" % (len(content), content)
            wire, end = wire[:-1], wire[-1:]
        else:
            wire = stuffed(content) if accepted else b""
        if accepted:
            ahead = len(wire) if len(wire) > TOGETHER else 0
            for start in range(0, ahead, BLOCK):
                await self._channel.send(wire[start : start + BLOCK], self._manners.times.block)
            end = wire[ahead:] + end
            if not await before_end(accepted):
                raise ChannelLost("the attempt was given up before the end of data")
        await self._channel.send(end, self._manners.times.block)
        transaction.content_sent()
        return bool(accepted)

    async def _hello(self) -> None:
        manners = self._manners
        reply = await self._ask(f"{'LHLO' if manners.lmtp else 'EHLO'} {manners.hello}\r\n".encode())
        if reply.positive:
            offered = read_capabilities(reply)
            self.capabilities = replace(offered, chunking=offered.chunking and manners.chunking, lmtp=manners.lmtp)
            return
        if reply.permanent and not manners.lmtp:  # RFC 5321 3.2: an old server; say HELO
            reply = await self._ask(f"HELO {manners.hello}\r\n".encode())
        if not reply.positive:
            raise Unwilling(reply)
        self.capabilities = Capabilities()

    async def _start_tls(self) -> None:
        reply = await self._ask(b"STARTTLS\r\n")
        if reply.code != 220:
            if self._manners.tls == "required":
                raise self._problem(Fault("starttls-not-supported", f"STARTTLS refused: {reply.text}"))
            return
        if not self._reader.empty or self._replies:
            raise ReplyFault("plain text behind the reply to STARTTLS")
        await self._handshake()
        await self._hello()  # RFC 3207 4.2: what was offered before is forgotten

    async def _handshake(self) -> None:
        manners = self._manners
        try:
            await self._channel.start_tls(manners.context, manners.name or self._host, manners.times.tls)
        except ChannelLost as error:
            raise self._problem(handshake_fault(error)) from error
        if manners.proof is not None and (fault := manners.proof(self._channel.certificates())):
            raise self._problem(fault)
        self.tls = self._channel.tls()

    def _problem(self, fault: Fault) -> TlsProblem:
        return TlsProblem(fault, self._manners.because)

    async def _log_in(self, login: Login) -> None:
        if not self.tls and not ipaddress.ip_address(self._channel.peer()).is_loopback:
            raise Unwilling(Reply(454, ("4.7.0 A password is not sent in plain text and the relay offers no TLS",)))
        if "PLAIN" in self.capabilities.auth:
            token = base64.b64encode(f"\0{login.name}\0{login.password}".encode())
            reply = await self._ask(b"AUTH PLAIN " + token + b"\r\n")
        elif "LOGIN" in self.capabilities.auth:
            reply = await self._ask(b"AUTH LOGIN\r\n")
            for text in (login.name, login.password):
                if reply.code == 334:
                    reply = await self._ask(base64.b64encode(text.encode()) + b"\r\n")
        else:
            reply = Reply(454, ("4.7.0 The relay offers no AUTH PLAIN or LOGIN",))
        if reply.code != 235:
            raise Unwilling(reply)

    async def _ask(self, line: bytes) -> Reply:
        await self._channel.send(line, self._manners.times.block)
        return await self._read(self._manners.times.command)

    async def _read(self, timeout: float) -> Reply:
        """The next reply. 421 may stand for any: the remote is about to close (RFC 5321 3.8)."""
        while not self._replies:
            self._replies = self._reader.feed(await self._channel.receive(timeout))
        reply = self._replies.pop(0)
        if reply.code == 421:
            self.usable = False
        return reply

    def _lose(self) -> None:
        self.usable = False
        self._channel.abort()


async def greet(channel: Channel, host: str, port: int, manners: Manners) -> Remote:
    """Introduce ourselves on a new connection, which is cut if that fails.

    Raises Unwilling (TlsProblem among it), ChannelLost, ReplyFault.
    """
    try:
        remote = Remote(channel, host, port, manners)
        await remote.introduce()
    except BaseException:
        channel.abort()
        raise
    return remote


def client_context(*, verify: bool) -> ssl.SSLContext:
    """TLS towards a remote. Unverified it only keeps listeners away, which is still better than plain text."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
