"""Conversations with the running service over the real database: receiving, refusing, limits and leaving."""

import asyncio
import base64
import re
import time
from typing import Any

import pytest

from posthorn_model.clock import SystemClock
from posthorn_model.events import QueueDue
from posthorn_storage.queue import QueueFilter

pytestmark = pytest.mark.postgres

MESSAGE = b"From: Eve <eve@example.net>\r\nMessage-ID: <m1@example.net>\r\nSubject: hi\r\n\r\n..dot\r\n.\r\nend\r\n"
STUFFED = MESSAGE.replace(b"\r\n.", b"\r\n..")
HELLO = "S: 220 *\nC: EHLO c\nS: 250-*\n"
ENVELOPE = "C: MAIL FROM:<e@f.net>\nS: 250 *\nC: RCPT TO:<ann@example.org>\nS: 250 *\n"
DATA = "C: DATA\nS: 354 *\n"
LOGIN = base64.b64encode(b"\0ann@example.org\0correct horse").decode()


def behind_trace(content: bytes) -> bytes:
    """Content without the fields the server put in front."""
    match = re.match(rb"(Return-Path: <[^>]*>\r\n)?Received: [^\r\n]*\r\n(?:\t[^\r\n]*\r\n)+", content)
    assert match is not None, content[:200]
    return content[match.end() :]


async def test_a_message_arrives_octet_for_octet_behind_its_trace(service: Any, people: Any) -> None:
    async with await service.connect() as talk:
        await talk.play("""
            S: 220 mx.example.org ESMTP Posthorn
            C: EHLO client.example.net
            S: 250-mx.example.org greets client.example.net|250-PIPELINING|250-8BITMIME|250-SIZE 52428800|*|250 STARTTLS
            C: MAIL FROM:<eve@example.net> SIZE=200
            S: 250 2.1.0 *
            C: RCPT TO:<ann@example.org>
            S: 250 2.1.5 *
            C: DATA
            S: 354 *
        """)
        talk.send(STUFFED + b".\r\n")
        await talk.play("""
            S: 250 2.6.0 Message accepted as ????????-????-????-????-????????????
            C: QUIT
            S: 221 2.0.0 *
            S:
        """)
    (content,) = await service.inbox(people[0])
    assert behind_trace(content) == MESSAGE
    head = content[: -len(MESSAGE)].decode()
    assert head.startswith("Return-Path: <eve@example.net>\r\nReceived: from client.example.net ([127.0.0.1])\r\n")
    assert "by mx.example.org (Posthorn) with ESMTP id " in head
    assert "for <ann@example.org>;" in head
    assert await service.inbox(people[1]) == []


async def test_pipelined_commands_are_answered_in_order(service: Any, people: Any) -> None:
    async with await service.connect() as talk:
        talk.send(
            b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<ann@example.org>\r\n"
            b"RCPT TO:<Bob+list@Example.ORG>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\n"
        )
        await talk.play("""
            S: 220 *
            S: 250-*
            S: 250 *
            S: 550 5.1.1 *
            S: 250 *
            S: 250 *
            S: 550 5.7.1 Relaying denied
            S: 354 *
        """)
        talk.send(
            b"Subject: x\r\n\r\nx\r\n.\r\nMAIL FROM:<a@b.org>\r\nRSET\r\n"
            b"VRFY ann\r\nEXPN l\r\nHELP\r\nNOOP\r\nFROB\r\nQUIT\r\n"
        )
        await talk.play("""
            S: 250 2.6.0 *
            S: 250 2.1.0 *
            S: 250 2.0.0 *
            S: 252 2.5.0 *
            S: 502 5.5.1 *
            S: 214 2.0.0 *
            S: 250 2.0.0 *
            S: 500 5.5.1 *
            S: 221 2.0.0 *
        """)
    assert len(await service.inbox(people[0])) == len(await service.inbox(people[1])) == 1


async def test_two_addresses_of_one_account_are_one_delivery(service: Any, people: Any) -> None:
    await service.parts.storage.directory.add_alias("sales@example.org", "ann@example.org")
    async with await service.connect() as talk:
        talk.send(
            b"EHLO c\r\nMAIL FROM:<e@f.net>\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<sales@example.org>\r\nDATA\r\n"
        )
        await talk.play("S: 220 *\nS: 250-*\nS: 250 *\nS: 250 *\nS: 250 *\nS: 354 *")
        talk.send(b"x\r\n.\r\n")
        await talk.play("S: 250 2.6.0 *")
    assert len(await service.inbox(people[0])) == 1


async def test_postmaster_needs_no_domain(service: Any, people: Any) -> None:
    async with await service.connect() as talk:
        await talk.play(
            "S: 220 *\nC: HELO c\nS: 250 mx.example.org\nC: MAIL FROM:<>\nS: 250 *\n"
            "C: RCPT TO:<Postmaster>\nS: 550 5.1.1 *"
        )
        await service.parts.storage.directory.add_alias("postmaster@example.org", "ann@example.org")
        await talk.play("C: RCPT TO:<Postmaster>\nS: 250 2.1.5 *")


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"x" * 999 + b"\r\n", "500 5.6.0 *"),
        (b"a\0b\r\n", "554 5.6.0 *"),
        ((b"y" * 70 + b"\r\n") * 1000, "552 5.3.4 *"),
        (b"Received: by a\r\n" * 101 + b"\r\nx\r\n", "554 5.4.6 *"),
    ],
)
async def test_content_that_breaks_a_rule_is_refused_and_the_connection_lives(
    start: Any, people: Any, content: bytes, answer: str
) -> None:
    service = await start(max_message_size=65536)
    async with await service.connect() as talk:
        await talk.play(HELLO + "C: MAIL FROM:<e@f.net> SIZE=65537\nS: 552 5.3.4 *")
        for expected, sent in ((answer, content), ("250 2.6.0 *", b"good\r\n")):
            await talk.play(ENVELOPE + DATA)
            talk.send(sent + b".\r\n")
            await talk.play(f"S: {expected}")
    assert [behind_trace(each) for each in await service.inbox(people[0])] == [b"good\r\n"]


async def test_chunks_are_received_without_dots_and_dashes(service: Any, people: Any) -> None:
    async with await service.connect() as talk:
        await talk.play(HELLO + "C: BDAT 4\nC: 12\nS: 503 5.5.1 *\n" + ENVELOPE)
        talk.send(b"BDAT 17\r\nSubject: x\r\n\r\n.\r\nBDAT 3 LAST\r\n.\r\n")
        await talk.play("S: 250 2.0.0 17 octets received\nS: 250 2.6.0 *\nC: BDAT 0 LAST\nS: 503 5.5.1 *")
    assert [behind_trace(each) for each in await service.inbox(people[0])] == [b"Subject: x\r\n\r\n.\r\n.\r\n"]


async def test_large_content_is_spooled_and_leaves_nothing_behind(start: Any, people: Any) -> None:
    service = await start(limits={"content_in_memory": 4096})
    content = b"Subject: big\r\n\r\n" + b"line of text\r\n" * 100_000
    async with await service.connect() as talk:
        await talk.play(HELLO + ENVELOPE + DATA)
        talk.send(content + b".\r\n")
        await talk.play("S: 250 2.6.0 *\nC: QUIT\nS: 221 *")
    assert [behind_trace(each) for each in await service.inbox(people[0])] == [content]
    assert list(service.parts.spool.iterdir()) == []


@pytest.mark.parametrize("without", [b"", b"Message-ID: <m1@example.net>\r\n"], ids=["its-id", "no-id"])
async def test_a_repeat_after_a_lost_reply_is_one_message_and_a_second_sending_two(
    service: Any, people: Any, without: bytes
) -> None:
    async def send(*, read_reply: bool) -> None:
        async with await service.connect() as talk:
            await talk.play(HELLO + ENVELOPE + DATA)
            talk.send(STUFFED.replace(without, b"") + b".\r\n")
            await talk.play("S: 250 2.6.0 *")
            if read_reply:
                await talk.play("C: QUIT\nS: 221 *")

    await send(read_reply=False)  # the connection breaks, as if the reply were lost
    await send(read_reply=True)
    assert len(await service.inbox(people[0])) == 1
    await send(read_reply=True)
    assert len(await service.inbox(people[0])) == 2


async def test_starttls_forgets_what_was_said_before(service: Any, people: Any) -> None:
    async with await service.connect("submission") as talk:
        await talk.play(f"""
            S: 220 *
            C: EHLO c
            S: 250-*|250 STARTTLS
            C: AUTH PLAIN {LOGIN}
            S: 538 5.7.11 *
        """)
        talk.send(b"STARTTLS\r\nEHLO injected\r\nMAIL FROM:<injected@example.org>\r\n")
        await talk.play("S: 220 2.0.0 *")
        await talk.starttls()
        await talk.play(f"""
            C: MAIL FROM:<ann@example.org>
            S: 503 5.5.1 Say EHLO first
            C: EHLO c
            S: 250-*|250 AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN
            C: STARTTLS
            S: 503 5.5.1 *
            C: MAIL FROM:<ann@example.org>
            S: 530 5.7.0 *
            C: AUTH PLAIN {LOGIN}
            S: 235 2.7.0 *
            C: AUTH PLAIN {LOGIN}
            S: 503 5.5.1 *
            C: MAIL FROM:<ann@example.org>
            S: 250 *
        """)


async def test_auth_in_all_its_forms(service: Any, people: Any) -> None:
    name, secret = (base64.b64encode(text).decode() for text in (b"ann@example.org", b"correct horse"))
    wrong = base64.b64encode(b"\0ann@example.org\0wrong").decode()
    for exchange, answer in [
        (f"C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: {name}\nS: 334 UGFzc3dvcmQ6\nC: {secret}", "235 2.7.0 *"),
        (f"C: AUTH LOGIN {name}\nS: 334 UGFzc3dvcmQ6\nC: {secret}", "235 2.7.0 *"),
        (f"C: AUTH PLAIN\nS: 334*\nC: {LOGIN}", "235 2.7.0 *"),
        ("C: AUTH PLAIN\nS: 334*\nC: *", "501 5.7.0 *"),
        ("C: AUTH PLAIN AAAA", "501 5.5.2 *"),
        ("C: AUTH CRAM-MD5", "504 5.5.4 *"),
        (f"C: AUTH PLAIN {wrong}", "535 5.7.8 *"),
    ]:
        async with await service.connect("submissions", tls=True) as talk:
            await talk.play(HELLO + f"{exchange}\nS: {answer}")
    assert "wrong" not in service.log.getvalue().replace("wrong password", "")
    assert "correct horse" not in service.log.getvalue()


async def test_auth_is_not_for_the_mx_and_failed_logins_end_the_connection(service: Any, people: Any) -> None:
    wrong = base64.b64encode(b"\0ann@example.org\0wrong").decode()
    async with await service.connect() as talk:
        await talk.play(HELLO + f"C: AUTH PLAIN {LOGIN}\nS: 503 5.5.1 *")
    async with await service.connect("plain") as talk:
        await talk.play(HELLO)
        for _ in range(5):
            await talk.play(f"C: AUTH PLAIN {wrong}\nS: 535 5.7.8 *")
        await talk.play("S: 421 4.7.0 *\nS:")


async def test_when_too_many_logins_failed_the_right_password_is_not_judged(
    service: Any, people: Any, lock_out: Any
) -> None:
    await lock_out("ann@example.org")
    async with await service.connect("plain") as talk:
        await talk.play(HELLO)
        for _ in range(5):
            await talk.play(f"C: AUTH PLAIN {LOGIN}\nS: 454 4.7.0 *")
        await talk.play("S: 421 4.7.0 *\nS:")


async def test_submission_mends_the_header_and_queues_what_is_for_others(service: Any, people: Any) -> None:
    async with await service.connect("plain") as talk:
        await talk.play(f"""
            S: 220 *
            C: EHLO c
            S: 250-*
            C: AUTH PLAIN {LOGIN}
            S: 235 *
            C: MAIL FROM:<bob@example.org>
            S: 553 5.7.1 *
            C: MAIL FROM:<ann@example.org> RET=HDRS ENVID=e1
            S: 250 *
            C: RCPT TO:<bob@example.org>
            S: 250 *
            C: RCPT TO:<eve@Bücher.example>
            S: 553 5.6.7 *
            C: RCPT TO:<eve@example.net> NOTIFY=SUCCESS ORCPT=rfc822;eve@example.net
            S: 250 *
            C: RCPT TO:<eve@[192.0.2.7]>
            S: 250 *
            C: DATA
            S: 354 *
            C: Bcc: secret@example.net,
            C:  more@example.net
            C: Subject: hi
            C:
            C: text
            C: .
            S: 250 2.6.0 *
            C: QUIT
            S: 221 *
        """)
    (content,) = await service.inbox(people[1])
    text = content.decode()
    assert "Bcc" not in text
    assert "secret@" not in text
    assert text.count("Message-ID: <") == text.count("\r\nDate: ") == 1
    assert text.endswith("Subject: hi\r\n\r\ntext\r\n")
    assert "with ESMTPA id" in text
    (queued,) = await service.parts.storage.queue.messages(QueueFilter())
    assert queued.sender == "ann@example.org"
    signs = await service.parts.storage._database.fetchval("SELECT signing_domain FROM queue_message")
    assert signs == "example.org"
    assert {(each.address, each.site) for each in queued.recipients} == {
        ("eve@example.net", "example.net"),
        ("eve@[192.0.2.7]", "[192.0.2.7]"),
    }
    shards = {service.parts.storage.queue.shard_of(site) for site in ("example.net", "[192.0.2.7]")}
    assert {event.shard for event in service.events if isinstance(event, QueueDue)} == shards


async def test_internationalized_addresses_pass_with_smtputf8(service: Any, people: Any) -> None:
    async with await service.connect("plain") as talk:
        await talk.play(f"""
            S: 220 *
            C: EHLO c
            S: 250-*
            C: AUTH PLAIN {LOGIN}
            S: 235 *
            C: MAIL FROM:<ann@example.org> SMTPUTF8 BODY=8BITMIME
            S: 250 *
            C: RCPT TO:<jürgen@bücher.example>
            S: 250 *
            C: DATA
            S: 354 *
            C: Subject: Grüße
            C:
            C: x
            C: .
            S: 250 2.6.0 *
        """)
    (queued,) = await service.parts.storage.queue.messages(QueueFilter())
    assert [(each.address, each.site) for each in queued.recipients] == [
        ("jürgen@bücher.example", "xn--bcher-kva.example")
    ]


async def test_lmtp_answers_each_recipient(service: Any, people: Any, account: Any) -> None:
    small = await account("small@example.org", quota=100)
    async with await service.connect("lmtp") as talk:
        await talk.play("""
            S: 220 mx.example.org LMTP Posthorn
            C: EHLO c
            S: 500 5.5.1 *
            C: LHLO c
            S: 250-*
            C: MAIL FROM:<e@f.net>
            S: 250 *
            C: RCPT TO:<ann@example.org>
            S: 250 *
            C: RCPT TO:<nobody@example.org>
            S: 550 5.1.1 *
            C: RCPT TO:<small@example.org>
            S: 250 *
            C: RCPT TO:<ann+again@example.org>
            S: 250 *
            C: DATA
            S: 354 *
        """)
        talk.send(b"x" * 200 + b"\r\n.\r\n")
        await talk.play("S: 250 2.6.0 *\nS: 552 5.2.3 *\nS: 250 2.6.0 *\nC: RSET\nS: 250 *")
        await talk.play(ENVELOPE + "C: RCPT TO:<bob@example.org>\nS: 250 *\n" + DATA)
        talk.send(b"bad\n\r\n.\r\n")
        await talk.play("S: 554 5.6.0 *\nS: 554 5.6.0 *\nC: QUIT\nS: 221 *")
    assert len(await service.inbox(people[0])) == 1
    assert await service.inbox(small) == []


async def test_garbage_instead_of_tls_ends_only_that_connection(service: Any, people: Any) -> None:
    async with await service.connect("smtp") as talk:
        await talk.play(HELLO + "C: STARTTLS\nS: 220 *")
        talk.send(b"this is no TLS\r\n" * 10)
        assert await asyncio.wait_for(talk.reader.read(), 90) is not None
    async with await service.connect("submissions") as talk:
        talk.send(b"EHLO c\r\n" * 10)
        await asyncio.wait_for(talk.reader.read(), 90)
    async with await service.connect() as talk:
        await talk.play("S: 220 *\nC: NOOP\nS: 250 *")


async def test_errors_and_transactions_of_a_connection_are_limited(start: Any, people: Any) -> None:
    service = await start(limits={"errors": 3, "transactions": 2})
    async with await service.connect() as talk:
        talk.send(b"FROB\r\n" * 5)
        await talk.play("S: 220 *\nS: 500 *\nS: 500 *\nS: 500 *\nS: 421 4.7.0 *\nS:")
    async with await service.connect() as talk:
        await talk.play(HELLO)
        for _ in range(2):
            await talk.play("C: MAIL FROM:<e@f.net>\nS: 250 *\nC: RSET\nS: 250 *")
        await talk.play("C: MAIL FROM:<e@f.net>\nS: 421 4.7.0 *\nS:")


async def test_connections_and_recipients_are_limited(start: Any, people: Any, account: Any) -> None:
    service = await start(limits={"connections_per_address": 2, "recipients": 100})
    first, second = await service.connect(), await service.connect("lmtp")
    await first.play("S: 220 *")
    await second.play("S: 220 *")
    async with await service.connect() as talk:
        await talk.play("S: 421 4.7.0 *\nS:")
    talk = first
    await talk.play("C: EHLO c\nS: 250-*\nC: MAIL FROM:<e@f.net>\nS: 250 *")
    for number in range(100):
        await talk.play(f"C: RCPT TO:<ann+{number}@example.org>\nS: 250 *")
    await talk.play("C: RCPT TO:<bob@example.org>\nS: 452 4.5.3 *\nC: QUIT\nS: 221 *\nS:")
    await second.play("C: QUIT\nS: 221 *\nS:")
    async with asyncio.timeout(90):
        while service.parts.door.count:  # noqa: ASYNC110 (a bounded poll)
            await asyncio.sleep(0.005)
    async with await service.connect() as talk:
        await talk.play("S: 220 *")


async def test_a_silent_client_and_a_slow_sender_are_let_go(
    start: Any, people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start(timeouts={"command": 0.1, "content": 0.1})
    async with await service.connect() as talk:
        await talk.play("S: 220 *\nS: 421 4.4.2 *\nS:")
    service = await start(timeouts={"session": 600.0})
    async with await service.connect() as talk:
        await talk.play(HELLO + ENVELOPE + DATA)
        monkeypatch.setattr(SystemClock, "monotonic", lambda _: time.monotonic() + 600.0)
        answer = asyncio.create_task(talk.reply())
        while not answer.done():
            talk.send(b"x")
            await asyncio.sleep(0.02)
        assert answer.result().startswith("421 4.4.2")
    assert await service.inbox(people[0]) == []


async def test_a_client_that_vanishes_leaves_nothing(service: Any, people: Any) -> None:
    for said in (
        b"EHLO c\r\nMAIL FROM:<e@f.net>\r\n",
        b"EHLO c\r\nMAIL FROM:<e@f.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nhalf",
    ):
        async with await service.connect() as talk:
            talk.send(said)
            await talk.play("S: 220 *\nS: 250-*\nS: 250 *")
    async with asyncio.timeout(90):
        while service.parts.door.count:  # noqa: ASYNC110 (a bounded poll)
            await asyncio.sleep(0.005)
    assert await service.inbox(people[0]) == []


async def test_drain_says_421_between_transactions_and_finishes_the_open_one(service: Any, people: Any) -> None:
    idle, busy = await service.connect(), await service.connect()
    await idle.play(HELLO)
    await busy.play(HELLO + ENVELOPE)
    port = service.port("smtp")
    draining = asyncio.create_task(service.receptions["smtp"].drain())
    await idle.play("S: 421 4.3.2 *\nS:")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await busy.play("C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 2.6.0 *\nS: 421 4.3.2 *\nS:")
    await asyncio.wait_for(draining, 90)
    assert len(await service.inbox(people[0])) == 1


async def test_the_proxy_tells_who_connected(service: Any, people: Any) -> None:
    version2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([198, 51, 100, 7, 127, 0, 0, 1]) + b"\x30\x39\0\x19"
    for header, address in (
        (b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 25\r\n", b"198.51.100.7"),
        (version2, b"198.51.100.7"),
    ):
        async with await service.connect("proxied") as talk:
            talk.send(header + b"EHLO c\r\nMAIL FROM:<e@f.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")
            await talk.play("S: 220 *\nS: 250-*\nS: 250 *\nS: 250 *\nS: 354 *\nC: x\nC: .\nS: 250 *\nC: QUIT\nS: 221 *")
        assert b"([" + address + b"])" in (await service.inbox(people[0]))[-1]
    async with await service.connect("proxied") as talk:
        talk.send(b"EHLO spoof\r\n")
        await talk.play("S:")
