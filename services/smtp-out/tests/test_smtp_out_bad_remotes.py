"""Servers and DNS that misbehave: each message ends in a clear state, with the reason on its time line."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState
from posthorn_node.settings import ResolverSettings
from posthorn_smtp_out.resolver import Resolver
from posthorn_smtp_out.routes import Router
from posthorn_smtp_out.settings import SendTimes
from posthorn_storage import Storage
from posthorn_storage.queue import QueueEvent
from posthorn_testkit.dns import DnsServer

pytestmark = pytest.mark.postgres
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HELLO = b"220 here\r\n"
SHORT = SendTimes(tls=0.4, greeting=0.4, command=0.4, data=0.4, block=0.4, end=0.4)
"""Of who waits for what never comes; all others have the time that a busy machine may need."""
LONG = 90.0


async def commands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: dict[bytes, bytes]) -> None:
    """Answer each command by its verb until one has no answer."""
    writer.write(HELLO)
    while line := await reader.readline():
        answer = answers.get(line[:4].strip().upper())
        if answer is None:
            return
        writer.write(answer)
        await writer.drain()


USUAL = {b"EHLO": b"250 here\r\n", b"MAIL": b"250 ok\r\n", b"RCPT": b"250 ok\r\n", b"DATA": b"354 go\r\n"}


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(range(256)) * 8)
    await reader.read()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def silence_after_mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await commands(reader, writer, {**USUAL, b"MAIL": b""})


async def hang_up_in_data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await commands(reader, writer, USUAL)


async def silence_after_content(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError):
        await commands(_Tap(reader), writer, {**USUAL, b".": b""})  # type: ignore[arg-type]


class _Tap:
    """Content is read line by line as commands are; only its end has an answer."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._content = False

    async def readline(self) -> bytes:
        while True:
            line = await self._reader.readline()
            if not self._content:
                self._content = line.upper().startswith(b"DATA")
                return line
            if not line or line == b".\r\n":
                return line


async def endless_reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HELLO)
    await reader.readline()
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"250-and so on\r\n" * 100)
            await writer.drain()


async def endless_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()


async def changing_code(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await commands(reader, writer, {**USUAL, b"RCPT": b"250-a\r\n550 b\r\n"})


async def small_size(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await commands(reader, writer, {**USUAL, b"EHLO": b"250-here\r\n250 SIZE 10\r\n"})


async def strange_data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await commands(reader, writer, {**USUAL, b"DATA": b"250 what?\r\n"})


async def octet_by_octet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything is offered, and everything is answered, in pieces of one octet."""
    offered = b"".join(
        b"250-%b\r\n" % word
        for word in (
            b"PIPELINING", b"SIZE 99999999999999999999999", b"8BITMIME", b"SMTPUTF8", b"DSN", b"DELIVERBY x", b"AUTH",
            b"MT-PRIORITY \xff", b"X" * 500, b"CHUNKING", b"BINARYMIME", b"\x00", b"ETRN", b"NO-SOLICITING",
        )
    )  # fmt: skip

    async def drip(data: bytes) -> None:
        for octet in data:
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(0)

    await drip(HELLO)
    while line := await reader.readline():
        if line.startswith(b"EHLO"):
            await drip(offered + b"250 HELP\r\n")
        elif line.startswith(b"BDAT"):
            await reader.readexactly(int(line.split()[1]))
            await drip(b"250-taken\r\n250 2.0.0 taken\r\n")
        else:
            await drip(b"250 ok\r\n")


def broken_tls(answer: bytes, after: bytes | None = None) -> Serve:
    """STARTTLS is offered, has this answer, and no handshake follows; in plain text everything is taken.

    After the answer comes what is in `after`, None: nothing at all.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = {**USUAL, b"EHLO": b"250-here\r\n250 STARTTLS\r\n", b".": b"250 2.0.0 taken in plain text\r\n"}
        await commands(_Tap(reader), writer, {**answers, b"QUIT": b"221 bye\r\n"})  # type: ignore[arg-type]
        writer.write(answer)
        if after is None:
            await reader.read()
        elif after:
            await reader.read(1000)  # the client's part of the handshake
            writer.write(after)
            await writer.drain()
            await reader.read(1000)

    serve.__name__ = f"broken_tls_{answer[:3].decode()}_{len(after) if after is not None else 'silent'}"
    return serve


@pytest.fixture
def sent(storage: Storage, start: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[QueueEvent]]:
    """`await sent(server)`: what became of a message for a site that is served so, or has those records."""

    async def send(
        server: Serve | None, records: dict[str, Any] | None = None, timeout: float = 60.0, **settings: Any
    ) -> QueueEvent:
        async with contextlib.AsyncExitStack() as stack:
            port = 9
            if server is not None:

                async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                        await server(reader, writer)
                    writer.transport.abort()

                listening = await asyncio.start_server(serve, "127.0.0.1", 0)
                stack.callback(listening.close)
                port = listening.sockets[0].getsockname()[1]
            names = records or {"bad.example": {"A": ["127.0.0.1"]}}
            dns = await stack.enter_async_context(DnsServer(names))
            resolver = Resolver(ResolverSettings(servers=(dns.address,), timeout=timeout))
            router = Router(resolver, hostname="out.example.org", port=port, relay=None, routes={})
            worker = await start(router, **settings)
            blob = await storage.blobs.prepare(b"Message-ID: <bad@example.org>\r\n\r\ntext that is long enough\r\n")
            recipient = NewRecipient("bob@bad.example", "bad.example", notify="NEVER")
            message = await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, [recipient]))
            async with asyncio.timeout(LONG):
                while True:
                    events = await storage.queue.time_line(message)
                    if events[-1].kind in ("deferred", "failed", "delivered"):
                        break
                    await asyncio.sleep(0.02)
            (shown,) = (await storage.queue.show(message)).recipients
            states = {
                "deferred": RecipientState.WAITING,
                "failed": RecipientState.FAILED,
                "delivered": RecipientState.DELIVERED,
            }
            assert shown.state is states[events[-1].kind]
            assert worker.figures.bugs._value.get() == 0
            return events[-1]

    return send


@pytest.mark.parametrize(
    ("server", "kind", "reason"),
    [
        (garbage, "deferred", "not an SMTP reply"),
        (silence, "deferred", "timed out waiting"),
        (silence_after_mail, "deferred", "timed out waiting"),
        (hang_up_in_data, "deferred", "connection"),
        (silence_after_content, "deferred", "timed out waiting"),
        (endless_reply, "deferred", "too many lines"),
        (endless_line, "deferred", "line is too long"),
        (changing_code, "deferred", "changed its code"),
        (strange_data, "deferred", "answered DATA with"),
        (small_size, "failed", "larger than the destination accepts"),
        (octet_by_octet, "delivered", "2.0.0 taken"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_a_server_that_misbehaves(
    sent: Callable[..., Awaitable[QueueEvent]], server: Serve, kind: str, reason: str
) -> None:
    silent = server in (silence, silence_after_mail, silence_after_content)
    event = await sent(server, **{"timeouts": SHORT} if silent else {})
    assert event.kind == kind, event
    assert reason in event.reply


@pytest.mark.parametrize("level", ["required", "opportunistic"])
@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (broken_tls(b"220 go\r\n", bytes(range(256)) * 20), "TLS handshake failed"),
        (broken_tls(b"220 go\r\n", b""), "TLS"),
        (broken_tls(b"220 go\r\n"), "TLS"),
        (broken_tls(b"454 4.7.0 not now\r\n", b""), "STARTTLS refused: 454 4.7.0 not now"),
    ],
    ids=["garbage", "hang-up", "silence", "refused"],
)
async def test_broken_tls_is_done_without_only_where_that_is_allowed(
    sent: Callable[..., Awaitable[QueueEvent]], server: Serve, reason: str, level: str
) -> None:
    event = await sent(server, tls=level, timeouts=SendTimes(tls=0.4 if "silent" in server.__name__ else 60.0))
    if level == "required":
        assert event.kind == "deferred", event
        assert reason in event.reply
        assert event.reply_class == "tls"
    elif "refused" in reason:
        assert event.kind == "deferred", "it has hung up"
    else:
        assert (event.kind, event.tls) == ("delivered", None)
        assert "taken in plain text" in event.reply


async def test_plain_text_behind_the_answer_to_starttls_is_no_reply(
    sent: Callable[..., Awaitable[QueueEvent]],
) -> None:
    event = await sent(broken_tls(b"220 go\r\n250 2.0.0 injected\r\n", b""))
    assert event.kind == "deferred", event
    assert "plain text behind the reply to STARTTLS" in event.reply


@pytest.mark.parametrize(
    ("records", "kind", "reason"),
    [
        ({"bad.example": {"CNAME": ["also.example."]}, "also.example": {"CNAME": ["bad.example."]}}, "deferred", "DNS"),
        ({"bad.example": {"LIE": []}}, "deferred", "DNS look-up"),
        ({"bad.example": {"GARBAGE": []}}, "deferred", "DNS look-up"),
        ({"bad.example": {"SILENT": []}}, "deferred", "DNS look-up"),
        ({"bad.example": {"RCODE": ["REFUSED"]}}, "deferred", "DNS look-up"),
        ({"bad.example": {"MX": ["10 gone.example."]}}, "deferred", "no address"),
        ({"bad.example": {"MX": ["10 127.0.0.1."]}}, "deferred", "no address"),
        ({"other.example": {"A": ["127.0.0.1"]}}, "failed", "does not exist"),
        ({"bad.example": {"MX": ["0 ."]}}, "failed", "null MX"),
        ({"bad.example": {"MX": ["10 out.example.org."]}}, "failed", "mail loop"),
        ({"bad.example": {"A": ["127.0.0.1"]}}, "deferred", "cannot connect"),
    ],
    ids=["loop", "lie", "garbage", "silent", "refused", "gone", "number", "unknown", "null", "ourselves", "nobody"],
)
async def test_dns_that_misbehaves(
    sent: Callable[..., Awaitable[QueueEvent]], records: dict[str, Any], kind: str, reason: str
) -> None:
    silent = not {"GARBAGE", "LIE", "SILENT"}.isdisjoint(records.get("bad.example", {}))
    event = await sent(None, records, timeout=0.5 if silent else 60.0)
    assert event.kind == kind, event
    assert reason in event.reply


async def test_dns_that_truncates_is_asked_over_tcp(sent: Callable[..., Awaitable[QueueEvent]]) -> None:
    event = await sent(octet_by_octet, {"bad.example": {"TRUNCATED": [], "A": ["127.0.0.1"]}})
    assert event.kind == "delivered"
