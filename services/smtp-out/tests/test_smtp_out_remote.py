"""Conversations with a real server that behaves, delays, refuses, drops, babbles and speaks TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn_node.certificate import self_signed
from posthorn_node.settings import ResolverSettings
from posthorn_smtp_out.pacing import Limits
from posthorn_smtp_out.pool import NotNow, Pool, Unreachable
from posthorn_smtp_out.protocol.envelope import Envelope, EnvelopeRecipient
from posthorn_smtp_out.protocol.transaction import Transaction
from posthorn_smtp_out.remote import Login, Manners, Remote, client_context
from posthorn_smtp_out.resolver import Resolver
from posthorn_smtp_out.routes import Destination, Relay, Router
from posthorn_smtp_out.settings import SendTimes
from posthorn_smtp_out.sources import Source
from posthorn_testkit.sink import DROP, END, GREETING, Sink

CONTENT = b"Subject: hi\r\n\r\n.dot\r\n..two\r\nend\r\n"
ROUTER = Router(Resolver(ResolverSettings(servers=("127.0.0.1:9",))), hostname="here", port=25, relay=None, routes={})

SOURCE = Source("", "client.example.org")


@pytest_asyncio.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as started:
        yield started


def tls_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(folder, "localhost"))
    return context


def pool(
    tls: str = "opportunistic", login: Login | None = None, connections: int = 2, times: SendTimes | None = None
) -> Pool:
    manners = Manners("client.example.org", tls, times or SendTimes(), client_context(verify=tls == "required"), login)  # type: ignore[arg-type]
    return Pool(ROUTER, lambda destination: manners, lambda _: Limits(connections, 3, idle=3600.0))


def destination(sink: Sink) -> Destination:
    return Destination(sink.address, Relay(((sink.host, sink.port),)))


async def may_end(ids: Sequence[int]) -> bool:
    return True


def envelope(*addresses: str, content: bytes = CONTENT) -> Envelope:
    recipients = [EnvelopeRecipient(number, address) for number, address in enumerate(addresses, 1)]
    return Envelope("ann@example.org", recipients, len(content), eight_bit=False, smtputf8=False)


async def send(remote: Remote, *addresses: str, content: bytes = CONTENT) -> tuple[Transaction, bool]:
    transaction = Transaction(envelope(*addresses, content=content), remote.capabilities)
    doubt = await remote.send(transaction, content, may_end)
    return transaction, doubt


async def codes(sink: Sink, *addresses: str, using: Pool | None = None) -> list[int]:
    used = using or pool()
    async with used.connection(destination(sink), SOURCE) as remote:
        transaction, _ = await send(remote, *addresses)
    if using is None:
        await used.close()
    return [transaction.replies[number].code for number in sorted(transaction.replies)]


@pytest.mark.parametrize("pipelining", [True, False])
async def test_content_arrives_octet_for_octet(pipelining: bool) -> None:
    async with Sink(extensions=["PIPELINING"] if pipelining else []) as sink:
        assert await codes(sink, "bob@example.net", "eve@example.net") == [250, 250]
        assert sink.mails[0].content == CONTENT
        assert sink.mails[0].recipients == ("bob@example.net", "eve@example.net")


async def test_an_old_server_is_greeted_with_helo(sink: Sink) -> None:
    sink.always("EHLO", "500 what?")
    assert await codes(sink, "bob@example.net") == [250]
    assert "HELO client.example.org" in sink.commands
    assert sink.mails[0].mail == "MAIL FROM:<ann@example.org>"


async def test_each_recipient_has_its_own_reply(sink: Sink) -> None:
    sink.once("RCPT", "550 5.1.1 no", "250 ok", "451 4.2.1 later")
    assert await codes(sink, "a@example.net", "b@example.net", "c@example.net") == [550, 250, 451]
    assert sink.mails[0].recipients == ("b@example.net",)


@pytest.mark.parametrize("extensions", [["PIPELINING"], []])
async def test_the_connection_lives_when_nobody_is_accepted(extensions: list[str]) -> None:
    async with Sink(extensions=extensions) as sink:
        sink.once("RCPT", "550 5.1.1 no")
        if extensions:  # 354 comes all the same, and wants an empty content
            sink.once("DATA", "354 go")
            sink.once(END, "554 5.5.1 no valid recipients")
        used = pool()
        assert await codes(sink, "a@example.net", using=used) == [550]
        assert await codes(sink, "b@example.net", using=used) == [250]
        await used.close()
        assert sink.connections == 1


async def test_connections_are_used_again_up_to_their_limit(sink: Sink) -> None:
    used = pool()
    for _ in range(4):
        assert await codes(sink, "bob@example.net", using=used) == [250]
    await used.close()
    assert [mail.connection for mail in sink.mails] == [1, 1, 1, 2]


async def test_a_site_never_sees_more_connections_than_its_limit(sink: Sink) -> None:
    used = pool(connections=2)
    gates = [sink.hold(END) for _ in range(2)]
    sending = [asyncio.create_task(codes(sink, "bob@example.net", using=used)) for _ in range(6)]
    for gate in gates:
        await gate.reached.wait()
        gate.open.set()
    assert await asyncio.gather(*sending) == [[250]] * 6
    await used.close()
    assert sink.most_connections == 2


async def test_nothing_is_opened_for_who_may_not_start_any_more(sink: Sink) -> None:
    """DNS has taken long, or the process has stood still: the site has another owner by now."""
    used = pool(connections=2)
    for _ in range(3):
        asked = iter([True, False])
        with pytest.raises(NotNow):
            async with used.connection(destination(sink), SOURCE, lambda asked=asked: next(asked)):  # type: ignore[misc]
                pass
    assert sink.connections == 0
    assert await codes(sink, "bob@example.net", using=used) == [250]
    await used.close()


async def test_who_does_not_hang_up_after_quit_is_hung_up_on(sink: Sink) -> None:
    sink.hold("QUIT")
    async with pool().connection(destination(sink), SOURCE) as remote:
        await send(remote, "bob@example.net")
        await remote.quit(0.05)
        await asyncio.wait_for(remote.closed, 90)


async def test_a_lost_reply_to_the_content_is_told_as_doubt(sink: Sink) -> None:
    sink.once(END, DROP)
    async with pool().connection(destination(sink), SOURCE) as remote:
        transaction, doubt = await send(remote, "bob@example.net")
    assert doubt
    assert transaction.replies[1].status == "4.4.2"
    assert not remote.usable


async def test_a_connection_lost_before_the_content_is_no_doubt(sink: Sink) -> None:
    sink.once("RCPT", DROP)
    async with pool().connection(destination(sink), SOURCE) as remote:
        transaction, doubt = await send(remote, "bob@example.net")
    assert not doubt
    assert transaction.replies[1].code == 451


async def test_without_leave_the_final_dot_is_never_sent(sink: Sink) -> None:
    async def may_not(ids: Sequence[int]) -> bool:
        return False

    async with pool().connection(destination(sink), SOURCE) as remote:
        transaction = Transaction(envelope("bob@example.net"), remote.capabilities)
        assert not await remote.send(transaction, CONTENT, may_not)
        assert not remote.usable
    assert transaction.replies[1].code == 451
    await asyncio.wait_for(_closed(sink), 90)
    assert sink.mails == []


async def _closed(sink: Sink) -> None:
    while sink.open_connections:  # noqa: ASYNC110 (a bounded poll)
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "babble", ["SSH-2.0-OpenSSH_9.9", "220-" + "x" * 5000, "999 what", "220-a\r\n250 b", "\x00\xff"]
)
async def test_babble_instead_of_smtp_is_refused(sink: Sink, babble: str) -> None:
    sink.always(GREETING, babble)
    with pytest.raises(Unreachable) as caught:
        await codes(sink, "bob@example.net")
    assert caught.value.reply.status == "4.4.1"


async def test_a_refusal_at_the_door_is_temporary(sink: Sink) -> None:
    sink.always(GREETING, "554 5.7.1 go away")
    with pytest.raises(Unreachable) as caught:
        await codes(sink, "bob@example.net")
    assert caught.value.reply.code == 451
    assert "go away" in caught.value.reply.text


async def test_a_silent_server_times_out(sink: Sink) -> None:
    sink.hold(GREETING)
    with pytest.raises(Unreachable) as caught:
        await codes(sink, "bob@example.net", using=pool(times=SendTimes(greeting=0.05)))
    assert "timed out" in caught.value.reply.text


async def test_421_ends_the_connection_and_the_rest_waits(sink: Sink) -> None:
    sink.once("RCPT", "250 ok", "421 4.3.2 closing")
    used = pool()
    assert await codes(sink, "a@example.net", "b@example.net", using=used) == [250, 421]
    assert await codes(sink, "c@example.net", using=used) == [250]
    await used.close()
    assert sink.connections == 2


async def test_an_idle_connection_the_server_closed_is_not_used(sink: Sink) -> None:
    used = pool()
    assert await codes(sink, "a@example.net", using=used) == [250]
    (kept,) = used._sites[sink.address].idle
    await sink.stop()
    await asyncio.wait_for(kept.remote.closed, 90)  # what is closed and not yet seen to be is used in good faith
    await sink.start()
    assert await codes(sink, "b@example.net", using=used) == [250]
    await used.close()


async def test_tls_is_used_where_it_is_offered(tmp_path: Path) -> None:
    async with Sink(tls=tls_context(tmp_path)) as sink:
        used = pool()
        async with used.connection(destination(sink), SOURCE) as remote:
            await send(remote, "bob@example.net")
            assert remote.tls.startswith("TLSv1.3")
        await used.close()
        assert sink.mails[0].tls


async def test_failed_tls_falls_back_to_plain_text_unless_required(sink: Sink) -> None:
    sink.extensions.append("STARTTLS")
    sink.always("STARTTLS", "220 go")  # and then it goes on in plain text: the handshake fails
    assert await codes(sink, "bob@example.net") == [250]
    assert not sink.mails[0].tls
    with pytest.raises(Unreachable):
        await codes(sink, "bob@example.net", using=pool(tls="required"))


async def test_required_tls_checks_the_certificate(tmp_path: Path) -> None:
    async with Sink(tls=tls_context(tmp_path)) as sink:
        with pytest.raises(Unreachable) as caught:
            await codes(sink, "bob@example.net", using=pool(tls="required"))
        assert "certificate" in caught.value.reply.text.lower()
        assert sink.mails == []


async def test_plain_text_injected_before_tls_ends_the_connection(sink: Sink) -> None:
    sink.extensions.append("STARTTLS")
    sink.always("STARTTLS", "220 go\r\n250-injected\r\n250 AUTH PLAIN")
    with pytest.raises(Unreachable):
        await codes(sink, "bob@example.net", using=pool(tls="required"))


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_relay_is_logged_in_to(sink: Sink, mechanism: str) -> None:
    sink.extensions.append(f"AUTH {mechanism}")
    if mechanism == "LOGIN":
        sink.always("AUTH", "334 VXNlcm5hbWU6")
        sink.once("YW5U", "334 x")
        for text in ("YW5uQGV4YW1wbGUub3Jn", "czNjcmV0"):
            sink.always(text.upper(), "235 ok" if text == "czNjcmV0" else "334 UGFzc3dvcmQ6")
    assert await codes(sink, "bob@example.net", using=pool(login=Login("ann@example.org", "s3cret"))) == [250]
    assert any(command.startswith(f"AUTH {mechanism}") for command in sink.commands)


async def test_a_refused_login_is_unreachable_and_keeps_the_password(sink: Sink) -> None:
    sink.extensions.append("AUTH PLAIN")
    sink.always("AUTH", "535 5.7.8 no")
    with pytest.raises(Unreachable) as caught:
        await codes(sink, "bob@example.net", using=pool(login=Login("ann", "s3cret")))
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Login("ann", "s3cret"))


async def test_large_content_passes_a_slow_reader(sink: Sink) -> None:
    content = b"Subject: big\r\n\r\n" + (b"." + b"x" * 70 + b"\r\n") * 60_000
    async with pool().connection(destination(sink), SOURCE) as remote:
        transaction, _ = await send(remote, "bob@example.net", content=content)
    assert transaction.replies[1].code == 250
    assert sink.mails[0].content == content
