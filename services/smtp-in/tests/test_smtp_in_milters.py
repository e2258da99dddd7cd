"""Milters in the running service: one of ours on Sendmail's libmilter, opendkim, opendmarc, and bad ones."""

import asyncio
import re
from typing import Any

import pytest

from posthorn_model.mail import Role
from posthorn_smtp_in.filters.settings import MilterSettings
from posthorn_storage.mail.messages import MessageFields
from posthorn_testkit.bad_filters import CLOSE, FLOOD, SILENCE, bad_filter

pytestmark = pytest.mark.postgres

EVERYTHING = ("headers", "body", "sender", "recipients")
HELLO = "S: 220 *\nC: EHLO c\nS: 250-*\n"
ENVELOPE = "C: MAIL FROM:<e@f.net>\nS: 250 *\nC: RCPT TO:<ann@example.org>\nS: 250 *\n"
DATA = "C: DATA\nS: 354 *\n"
MESSAGE = b"From: e@f.net\r\nSubject:  hello\r\nX-Twice: 1\r\nX-Twice: 2\r\nX-Fold: a\r\n b\r\n\r\n..dot\r\nend\r\n"


def milters(**addresses: Any) -> dict[str, Any]:
    """With times for what has little of a busy machine, unless they are given."""
    times = {"timeouts": {"connect": 60.0, "command": 240.0, "content": 240.0}}
    return {
        name: MilterSettings(type="milter", **times | ({"address": each} if isinstance(each, str) else each))
        for name, each in addresses.items()
    }


async def mailbox(service: Any, account: Any, role: Role = Role.INBOX) -> list[bytes]:
    mail = service.parts.storage.mail
    (box,) = [box for box in await mail.mailboxes(account.id) if box.role is role]
    ids = [entry.message for entry in await mail.entries(account.id, box.id)]
    stored = await mail.messages(account.id, ids, MessageFields.NONE)
    return [await service.parts.storage.blobs.read(account.id, each.blob) for each in stored]


async def heard(milter: Any, last: str) -> list[str]:
    """What the milter was told, when it has been told `last`: it writes at its own pace."""
    lines: list[str] = []
    async with asyncio.timeout(60):
        while last not in lines:
            lines += milter.heard()
            await asyncio.sleep(0.01)
    return lines


async def quiet(milter: Any) -> None:
    """Return when all sessions that it was told of are at their end; what it heard of them is of no interest."""
    async with asyncio.timeout(60):
        while True:
            lines = milter.journal.read_text().splitlines()
            if lines.count("close") == sum(line.startswith("connect ") for line in lines):
                break
            await asyncio.sleep(0.01)
    milter.heard()


def asking(*words: str) -> bytes:
    return b"X-Do: " + " ".join(words).encode() + b"\r\n" + MESSAGE


async def send(service: Any, content: bytes, answer: str, *, listener: str = "smtp") -> None:
    async with await service.connect(listener) as talk:
        await talk.play((HELLO if listener != "lmtp" else HELLO.replace("EHLO", "LHLO")) + ENVELOPE + DATA)
        talk.send(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        await talk.play(f"S: {answer}\nC: QUIT\nS: 221 *\nS:")


async def test_a_milter_hears_all_steps_and_its_connection_serves_the_next_session(
    start: Any, people: Any, milter: Any
) -> None:
    service = await start(filter=milters(own=milter.address))
    await quiet(milter)
    for number in range(2):
        await send(service, MESSAGE.replace(b"hello", b"%d" % number), "250 *")
        lines = await heard(milter, "close")
        assert lines == [
            "connect [127.0.0.1] 127.0.0.1 smtp",
            "helo c",
            "mail <e@f.net> True ",
            "rcpt <ann@example.org>",
            "data",
            "header From e@f.net",
            f"header Subject {number}",
            "header X-Twice 1",
            "header X-Twice 2",
            "header X-Fold a| b",
            "eoh",
            "end 12",
            "close",
        ]
    assert [content.endswith(b"\r\n\r\n..dot\r\nend\r\n") for content in await mailbox(service, people[0])] == [
        True
    ] * 2
    (panel,) = [service.parts.filters.panel("smtp")]
    assert len(panel.milters[0].lines._idle) == 1


async def test_it_changes_fields_body_sender_and_recipients(start: Any, people: Any, milter: Any) -> None:
    service = await start(filter=milters(own={"address": milter.address, "changes": EVERYTHING}))
    await send(service, asking("fields", "body", "sender", "recipients", "progress"), "250 *")
    assert await mailbox(service, people[0]) == []
    (content,) = await mailbox(service, people[1])
    head, _, body = content.partition(b"\r\n\r\n")
    assert head.startswith(b"Return-Path: <other@example.net>\r\nReceived: ")
    fields = head[head.index(b"X-First") :]
    assert fields == (
        b"X-First: 1\r\nX-Do: fields body sender recipients progress\r\nFrom: e@f.net\r\nSubject: changed\r\n"
        b"X-Twice: 1\r\nX-Fold: a\r\n b\r\nX-Added: at the\r\n\tend"
    )
    assert body == b"another\r\nbody\r\n"


async def test_in_lmtp_recipients_stay_and_quarantine_is_junk(start: Any, people: Any, milter: Any) -> None:
    service = await start(filter=milters(own={"address": milter.address, "changes": EVERYTHING, "listeners": ["lmtp"]}))
    await send(service, asking("recipients", "quarantine"), "250 *", listener="lmtp")
    assert len(await mailbox(service, people[0], Role.JUNK)) == 1
    assert await mailbox(service, people[1]) == []


@pytest.mark.parametrize(
    ("word", "answer", "kept"),
    [
        ("reject-end", "550 5.7.1 *", 0),
        ("tempfail-end", "451 4.7.1 *", 0),
        ("words-end", "554-5.7.9 Not at end|554 5.7.9 and never again", 0),
        ("discard-end", "250 2.6.0 *", 0),
        ("accept-end", "250 2.6.0 *", 1),
    ],
)
async def test_its_last_word_is_the_reply(
    start: Any, people: Any, milter: Any, word: str, answer: str, kept: int
) -> None:
    service = await start(filter=milters(own=milter.address))
    await send(service, asking(word), answer)
    assert len(await mailbox(service, people[0])) == kept


async def test_it_refuses_at_each_stage_and_the_session_goes_on(start: Any, people: Any, milter: Any) -> None:
    service = await start(filter=milters(own=milter.address))
    async with await service.connect() as talk:
        await talk.play(
            """
            S: 220 *
            C: EHLO reject-helo
            S: 550 5.7.1 *
            C: EHLO c
            S: 250-*
            C: MAIL FROM:<reject-mail@f.net>
            S: 550 5.7.1 *
            C: RCPT TO:<ann@example.org>
            S: 503 *
            C: MAIL FROM:<tempfail-mail@f.net>
            S: 451 4.7.1 *
            C: MAIL FROM:<e@f.net>
            S: 250 *
            C: RCPT TO:<bob+words-rcpt@example.org>
            S: 554-5.7.9 Not at rcpt|554 5.7.9 and never again
            C: RCPT TO:<ann@example.org>
            S: 250 *
            C: RSET
            S: 250 *
            C: MAIL FROM:<e@f.net>
            S: 250 *
            C: RCPT TO:<bob+tempfail-rcpt@example.org>
            S: 451 4.7.1 *
            C: RCPT TO:<ann@example.org>
            S: 250 *
            C: DATA
            S: 354 *
            """
        )
        talk.send(MESSAGE + b".\r\n")
        await talk.play("S: 250 *\nC: MAIL FROM:<discard-mail@f.net>\nS: 250 *")
        await talk.play("C: RCPT TO:<bob@example.org>\nS: 250 *\nC: DATA\nS: 354 *")
        talk.send(MESSAGE + b".\r\n")
        await talk.play("S: 250 *")
    assert (len(await mailbox(service, people[0])), len(await mailbox(service, people[1]))) == (1, 0)


async def test_it_turns_a_client_away_at_the_door(start: Any, people: Any, milter: Any) -> None:
    service = await start(filter=milters(own={"address": milter.address, "listeners": ["proxied"]}))
    async with await service.connect("proxied") as talk:
        talk.send(b"PROXY TCP4 192.0.2.66 192.0.2.1 1000 25\r\n")
        await talk.play("S: 550 5.7.1 *\nS:")
    async with await service.connect("proxied") as talk:
        talk.send(b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 25\r\n")
        await talk.play("S: 220 *\nC: QUIT\nS: 221 *")
    assert "connect [2001:db8::1] 2001:db8::1 proxied" in await heard(
        milter, "connect [2001:db8::1] 2001:db8::1 proxied"
    )


async def test_what_it_is_not_asked_about_at_once_it_is_told_later(start: Any, people: Any, milter: Any) -> None:
    service = await start(filter=milters(own={"address": milter.address, "stages": ["data"]}))
    await quiet(milter)
    async with await service.connect() as talk:
        await talk.play(HELLO + "C: MAIL FROM:<reject-mail@f.net>\nS: 250 *\nC: RCPT TO:<ann@example.org>\nS: 250 *")
        assert milter.heard() == []
        await talk.play("C: DATA\nS: 550 5.7.1 *\nC: RSET\nS: 250 *")
        await talk.play(ENVELOPE)
        content = MESSAGE  # by BDAT there is no DATA
        talk.send(b"BDAT %d LAST\r\n" % len(content) + content)
        await talk.play("S: 250 *")
    lines = await heard(milter, "close")
    assert [line.split()[0] for line in lines[:4]] == ["connect", "helo", "mail", "mail"]
    assert "data" in lines


async def test_it_changes_only_what_the_settings_allow(start: Any, people: Any, milter: Any) -> None:
    service = await start(filter=milters(own={"address": milter.address, "changes": ["headers"], "on_failure": "open"}))
    await quiet(milter)
    await send(service, asking("body"), "250 *")
    assert "no body" in await heard(milter, "close")
    (content,) = await mailbox(service, people[0])
    assert content.endswith(b"..dot\r\nend\r\n")


async def test_milters_see_what_those_before_them_left(
    start: Any, people: Any, milter: Any, opendkim: str, opendmarc: str
) -> None:
    """opendkim signs and opendmarc goes by its Authentication-Results; ours hears what both have written."""
    service = await start(filter=milters(dkim=opendkim, dmarc=opendmarc, own=milter.address))
    await quiet(milter)
    sent = MESSAGE.replace(b"e@f.net", b"ann@example.org") + b"\r\n"
    await send(service, b"Date: Thu, 26 Nov 2026 10:00:00 +0000\r\n" + sent, "250 *")
    lines = await heard(milter, "close")
    assert any(line.startswith("header DKIM-Signature v=1;") for line in lines)
    assert any(line.startswith("header DMARC-Filter OpenDMARC") for line in lines)
    (content,) = await mailbox(service, people[0])
    assert re.search(rb"\r\nDKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example\.org; s=test;\r\n\t", content)


BAD = [
    (CLOSE, b""),
    (CLOSE, b"O"),
    (SILENCE, b""),
    (FLOOD, b"O"),
    (b"SPAMD/1.1 0 EX_OK\r\n\r\n", b""),
    (b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x02\0\0\0\0", b"O"),  # wants the body
    (b"\0\0\0\x0dO\0\0\0\x63\0\0\0\0\0\0\0\0", b"O"),
    (b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\x01h", b"O"),  # a change of nothing
    (b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\x01?", b"O"),
    (b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\x01c", b"O"),  # and then silence
]


async def test_a_bad_milter_defers_mail_or_lets_it_pass_as_the_settings_say(start: Any, people: Any) -> None:
    for number, (answer, after) in enumerate(BAD):
        async with bad_filter(answer, after=after) as address:
            settings = {"address": address, "timeouts": {"command": 0.2, "content": 0.2, "connect": 0.5}}
            closed = await start(filter=milters(bad=settings))
            async with await closed.connect() as talk:
                await talk.play(HELLO + "C: MAIL FROM:<e@f.net>\nS: 451 4.7.1 *\nC: NOOP\nS: 250 *")
            assert "event='filter failed'" in closed.log.getvalue(), answer
            service = await start(filter=milters(bad={**settings, "on_failure": "open"}))
            await send(service, MESSAGE.replace(b"hello", b"%d" % number), "250 *")
        assert len(await mailbox(service, people[0])) == number + 1, answer
