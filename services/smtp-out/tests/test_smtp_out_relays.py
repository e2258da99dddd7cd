"""How relays and exchangers are spoken to: BDAT, LMTP, implicit TLS, several hosts, sources, slow addresses."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.sites import at_site
from posthorn_node.certificate import self_signed
from posthorn_node.settings import ResolverSettings
from posthorn_smtp_out.pacing import Limits
from posthorn_smtp_out.pool import Pool, Unreachable
from posthorn_smtp_out.protocol.envelope import Envelope, EnvelopeRecipient
from posthorn_smtp_out.protocol.transaction import Transaction
from posthorn_smtp_out.remote import Manners, Remote, client_context
from posthorn_smtp_out.remoting import manners, relays, sources
from posthorn_smtp_out.resolver import Resolver
from posthorn_smtp_out.routes import Destination, Relay, Router
from posthorn_smtp_out.settings import SendTimes, SmtpOutSettings
from posthorn_smtp_out.sources import Source
from posthorn_testkit.dns import DnsServer
from posthorn_testkit.sink import DROP, END, Sink

CONTENT = b"Subject: hi\r\n\r\n.dot\r\n..two\r\nend\r\n"
CHUNKS = ("PIPELINING", "CHUNKING", "SIZE")
SOURCE = Source("", "client.example.org")


def router(servers: Sequence[str] = ("127.0.0.1:9",), port: int = 25) -> Router:
    resolver = Resolver(ResolverSettings(servers=tuple(servers), timeout=60.0))
    return Router(resolver, hostname="here", port=port, relay=None, routes={})


def pool(sought: Router | None = None, connections: int = 2, **given: object) -> Pool:
    def towards(destination: Destination) -> Manners:
        relay = destination.relay
        plain = Manners("here", "none", SendTimes(), client_context(verify=False), lmtp=bool(relay and relay.lmtp))
        return manners_with(plain, given)

    return Pool(sought or router(), towards, lambda _: Limits(connections, idle=3600.0))


def manners_with(plain: Manners, given: dict[str, object]) -> Manners:
    return Manners(**{name: given.get(name, getattr(plain, name)) for name in Manners.__slots__})  # type: ignore[arg-type]


def at(*sinks: Sink, lmtp: bool = False) -> Destination:
    return Destination("relay", Relay(tuple((sink.host, sink.port) for sink in sinks), lmtp=lmtp))


async def send(
    remote: Remote, *addresses: str, content: bytes = CONTENT, may_end: bool = True
) -> tuple[list[int], bool]:
    recipients = [EnvelopeRecipient(number, address) for number, address in enumerate(addresses, 1)]
    envelope = Envelope("ann@example.org", recipients, len(content), eight_bit=False, smtputf8=False)
    transaction = Transaction(envelope, remote.capabilities)

    async def leave(ids: Sequence[int]) -> bool:
        return may_end

    doubt = await remote.send(transaction, content, leave)
    return [transaction.replies[number].code for number in sorted(transaction.replies)], doubt


@contextlib.contextmanager
def filling() -> Iterator[Callable[[Any], None]]:
    """Connects to an address, as often as asked, without ever being served."""
    made: list[socket.socket] = []

    def connect(address: Any) -> None:
        made.append(socket.socket())
        made[-1].setblocking(False)
        made[-1].connect_ex(address)

    yield connect
    for each in made:
        each.close()


@pytest_asyncio.fixture
async def chunked() -> AsyncIterator[Sink]:
    async with Sink(extensions=CHUNKS) as sink:
        yield sink


@pytest.mark.parametrize("content", [CONTENT, b"", b"x" * 400_000 + b"\r\n"])
async def test_chunks_carry_content_as_it_is(chunked: Sink, content: bytes) -> None:
    async with pool().connection(at(chunked), SOURCE) as remote:
        assert await send(remote, "a@example.net", "b@example.net", content=content) == ([250, 250], False)
    assert chunked.mails[0].content == content
    assert "DATA" not in chunked.commands
    assert f"BDAT {len(content)} LAST" in chunked.commands
    assert f" SIZE={len(content)}" in chunked.mails[0].mail


async def test_refused_chunks_and_recipients_leave_the_connection_good(chunked: Sink) -> None:
    chunked.once("RCPT", "550 5.1.1 no")
    chunked.once(END, "451 4.3.0 not now", "250 ok")
    async with pool().connection(at(chunked), SOURCE) as remote:
        assert await send(remote, "a@example.net") == ([550], False)
        assert await send(remote, "b@example.net") == ([451], False)
        assert await send(remote, "c@example.net") == ([250], False)
        assert remote.usable
    assert chunked.commands.count("RSET") == 2
    assert [mail.recipients for mail in chunked.mails] == [("c@example.net",)]


async def test_without_leave_the_last_octet_is_never_sent(chunked: Sink) -> None:
    async with pool().connection(at(chunked), SOURCE) as remote:
        assert await send(remote, "a@example.net", may_end=False) == ([451], False)
        await remote.closed
    assert chunked.mails == []


async def test_chunks_can_be_switched_off(chunked: Sink) -> None:
    async with pool(chunking=False).connection(at(chunked), SOURCE) as remote:
        assert await send(remote, "a@example.net") == ([250], False)
    assert "DATA" in chunked.commands
    assert chunked.mails[0].content == CONTENT


@pytest.mark.parametrize("extensions", [["PIPELINING"], [], CHUNKS])
async def test_over_lmtp_each_recipient_has_its_own_reply_to_the_content(extensions: Sequence[str]) -> None:
    async with Sink(lmtp=True, extensions=extensions) as sink:
        sink.once("RCPT", "550 5.1.1 no")
        sink.once(END, "250 2.0.0 taken", "452 4.2.2 full", "250 2.0.0 taken")
        used = pool()
        async with used.connection(at(sink, lmtp=True), SOURCE) as remote:
            assert await send(remote, "a@x.example", "b@x.example", "c@x.example") == ([550, 250, 452], False)
            assert await send(remote, "d@x.example") == ([250], False)
        await used.close()
        assert sink.commands[0] == "LHLO client.example.org"
        assert [mail.recipients for mail in sink.mails] == [("b@x.example",), ("d@x.example",)]


async def test_over_lmtp_a_lost_reply_leaves_only_its_own_recipient_in_doubt() -> None:
    async with Sink(lmtp=True) as sink:
        sink.once(END, "250 2.0.0 taken", DROP)
        async with pool().connection(at(sink, lmtp=True), SOURCE) as remote:
            assert await send(remote, "a@x.example", "b@x.example") == ([250, 451], True)


async def test_over_lmtp_nobody_gets_content_that_nobody_is_to_get() -> None:
    async with Sink(lmtp=True) as sink:
        sink.once("RCPT", "550 5.1.1 no")
        sink.once("DATA", "354 all the same")
        async with pool().connection(at(sink, lmtp=True), SOURCE) as remote:
            assert await send(remote, "a@x.example") == ([550], False)
            assert not remote.usable


async def test_tls_from_the_first_octet(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    async with Sink(tls=server, implicit=True) as sink:
        named = Destination("relay", Relay((("localhost", sink.port),)))
        known = ssl.create_default_context(cafile=str(certificate))
        async with pool(tls="implicit", context=known).connection(named, SOURCE) as remote:
            assert await send(remote, "a@example.net") == ([250], False)
            assert remote.tls.startswith("TLS")
        assert sink.mails[0].tls
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            async with pool(tls="implicit", context=client_context(verify=True)).connection(named, SOURCE):
                pass


async def test_of_several_hosts_of_a_relay_one_is_enough() -> None:
    async with Sink() as gone, Sink() as here:
        await gone.stop()
        for _ in range(5):
            async with pool().connection(at(gone, here), SOURCE) as remote:
                assert await send(remote, "a@example.net") == ([250], False)
        assert len(here.mails) == 5


async def test_an_address_that_does_not_answer_is_not_waited_for() -> None:
    """The queue of its socket is full, so that its machine drops what comes; the time limit is an hour."""
    async with Sink(host="127.0.0.3") as sink, DnsServer({"two.example": {"A": ["127.0.0.2", "127.0.0.3"]}}) as dns:
        with socket.create_server(("127.0.0.2", sink.port), backlog=0) as deaf, filling() as full:
            for _ in range(2):
                full(deaf.getsockname())
            used = pool(router([dns.address], sink.port), times=SendTimes(connect=3600.0))
            async with asyncio.timeout(90), used.connection(Destination("two.example"), SOURCE) as remote:
                assert await send(remote, "a@two.example") == ([250], False)
            # With room for one connection only nothing is opened beside the one that is slow.
            alone = pool(router([dns.address], sink.port), connections=1, times=SendTimes(connect=2.0))
            async with alone.connection(Destination("two.example"), SOURCE) as remote:
                assert await send(remote, "a@two.example") == ([250], False)


async def test_connections_leave_from_their_source_and_are_not_shared() -> None:
    """With room for one connection the idle one of another source makes way."""
    async with Sink() as sink:
        used = pool(connections=1)
        first = Source("first", "one.example.org", ("127.0.0.5", "::1"))
        second = Source("second", "two.example.org", ("127.0.0.6",))
        for source in (first, first, second):
            async with used.connection(at(sink), source) as remote:
                assert await send(remote, "a@example.net") == ([250], False)
        await used.close()
        assert [(mail.client, mail.hello, mail.connection) for mail in sink.mails] == [
            ("127.0.0.5", "EHLO one.example.org", 1),
            ("127.0.0.5", "EHLO one.example.org", 1),
            ("127.0.0.6", "EHLO two.example.org", 2),
        ]
        assert sink.most_connections == 1
        with pytest.raises(Unreachable, match="own addresses"):
            async with used.connection(at(sink), Source("third", "three.example.org", ("::1",))):
                pass


SETTINGS = SmtpOutSettings.model_validate(
    {
        "relay": "out.example.net:587",
        "relay-login": "ann",
        "relay-password": "s3cret",
        "tls": "opportunistic",
        "routes": {"lists.example": "boxes", "*.wide.example": "mx"},
        "relays": {"boxes": {"hosts": ["a.example:24", "[::1]:24"], "protocol": "lmtp", "source": "news"}},
        "sources": {
            "news": {"addresses": ["192.0.2.1"], "hello": "news.example.org", "sender-domains": ["News.example.org"]},
            "rest": {"addresses": ["192.0.2.2"]},
        },
        "source": "rest",
    }
)


def test_settings_say_how_each_destination_is_spoken_to() -> None:
    resolver = Resolver(ResolverSettings(servers=("127.0.0.1:9",)))
    chosen = Router(
        resolver, hostname="here", port=25, relay=SETTINGS.relay, routes=SETTINGS.routes, relays=relays(SETTINGS)
    )
    towards, leaving = manners(SETTINGS, "out.example.org"), sources(SETTINGS, "out.example.org")
    boxes, rest = chosen.destination("lists.example"), chosen.destination("other.example")
    assert boxes is not None
    assert rest is not None
    assert boxes.relay == Relay((("a.example", 24), ("::1", 24)), lmtp=True, source="news")
    assert towards(boxes).lmtp
    assert towards(boxes).login is None
    assert rest.relay is not None
    assert rest.relay.hosts == (("out.example.net", 587),)
    assert towards(rest).login == relays(SETTINGS)["out.example.net:587"].login is not None
    assert "s3cret" not in repr(rest)
    direct = chosen.destination("a.b.wide.example")
    assert direct == Destination("a.b.wide.example")
    names = [
        leaving.chosen(boxes, "x@y.example"),
        leaving.chosen(direct, "x@news.example.org"),
        leaving.chosen(rest, ""),
    ]
    assert [(each.name, each.hello) for each in names] == [
        ("news", "news.example.org"),
        ("news", "news.example.org"),
        ("rest", "out.example.org"),
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"relay": "nobody"}, 'not "host:port" or the name of a relay'),
        ({"relay": "mx"}, 'not "host:port" or the name of a relay'),
        ({"routes": {"a.example": "nobody"}}, '"mx" or "local"'),
        ({"routes": {"a.example": "a.example:x"}}, '"mx" or "local"'),
        ({"relays": {"one": {"hosts": []}}}, "at least 1"),
        ({"relays": {"one": {"hosts": ["a:25"], "login": "ann"}}}, "belong together"),
        ({"relays": {"one": {"hosts": ["a:25"], "source": "none"}}}, "there is no"),
        ({"source": "none"}, "there is no"),
        ({"sources": {"one": {"addresses": ["here"]}}}, "not an IP address"),
        ({"sources": {"one": {"hello": "a\r\nb"}}}, "pattern"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SmtpOutSettings.model_validate(given)


def test_the_nearest_entry_holds_for_a_site() -> None:
    table = {"a.example": 1, "*.example": 2, "*.b.example": 3, "*": 4}
    asked = ["a.example", "x.a.example", "b.example", "x.y.b.example", "example", "[192.0.2.1]"]
    assert [at_site(table, site) for site in asked] == [1, 2, 2, 3, 4, 4]
    assert at_site({"a.example": 1}, "x.a.example") is None
