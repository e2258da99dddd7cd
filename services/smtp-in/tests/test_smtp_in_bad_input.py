"""Hostile and broken clients on real sessions: each gets the right reply, nothing is half delivered, nothing stays."""

import asyncio
import contextlib
import resource
from collections.abc import Iterator
from typing import Any

import pytest

from posthorn_model.mail import Role

pytestmark = pytest.mark.postgres

HELLO = "S: 220 *\nC: EHLO c\nS: 250-*\n"
ENVELOPE = "C: MAIL FROM:<e@f.net>\nS: 250 *\nC: RCPT TO:<ann@example.org>\nS: 250 *\n"
DATA = "C: DATA\nS: 354 *\n"

SYNTAX = {
    "FRESH": [
        ("MAIL FROM:<a@b.org>", "503 5.5.1 Say EHLO first"),
        ("EHLO", "501 5.5.4 *"),
        ("HELO", "501 5.5.4 *"),
        ("EHLO two words", "501 5.5.4 *"),
        ("LHLO c", "500 5.5.1 *"),
        ("", "500 5.5.1 *"),
        ("FROB", "500 5.5.1 *"),
        (" NOOP", "500 5.5.1 *"),
        ("STARTTLS", "503 5.5.1 *"),
        ("DATA", "503 5.5.1 *"),
        ("EHLO c", "250-*"),
    ],
    "READY": [
        ("RCPT TO:<ann@example.org>", "503 5.5.1 *"),
        ("DATA", "503 5.5.1 *"),
        ("BDAT 0 LAST", "503 5.5.1 *"),
        ("BDAT x", "501 5.5.4 *"),
        ("BDAT 1 FIRST", "501 5.5.4 *"),
        ("MAIL", "501 5.5.4 *"),
        ("MAIL FROM:", "501 5.1.3 *"),
        ("MAIL FROM:a@b.org", "501 5.1.3 *"),
        ("MAIL TO:<a@b.org>", "501 5.5.4 *"),
        ("MAIL FROM:<a>", "501 5.1.3 *"),
        ("MAIL FROM:<a@b.org", "501 5.1.3 *"),
        ("MAIL FROM:<a@b.org>x", "501 5.1.3 *"),
        ("MAIL FROM:<a@[300.1.1.1]>", "501 5.1.3 *"),
        ("MAIL FROM:<a@b.org> SIZE=x", "501 5.5.4 *"),
        ("MAIL FROM:<a@b.org> SIZE=1 SIZE=1", "501 5.5.4 *"),
        ("MAIL FROM:<a@b.org> BODY=9BIT", "501 5.5.4 *"),
        ("MAIL FROM:<a@b.org> FROB=1", "555 5.5.4 *"),
        ("MAIL FROM:<a@b.org> RET=ALL", "501 5.5.4 *"),
        ("MAIL FROM:<a@b.org> SIZE=99999999999", "552 5.3.4 *"),
        ("MAIL FROM:<ä@b.org>", "553 5.6.7 *"),
        ("RSET now", "501 5.5.4 *"),
        ("QUIT now", "501 5.5.4 *"),
        ("NOOP \x01", "500 5.5.2 *"),
        ("NOOP " + "x" * 3000, "500 5.5.2 *"),
        ("EXPN l", "502 5.5.1 *"),
        ("AUTH PLAIN AAAA", "503 5.5.1 *"),
        ("MAIL FROM:<a@b.org>", "250 2.1.0 *"),
    ],
    "SENDER": [
        ("MAIL FROM:<a@b.org>", "503 5.5.1 *"),
        ("DATA", "503 5.5.1 No valid recipients"),
        ("RCPT", "501 5.5.4 *"),
        ("RCPT TO:<>", "501 5.1.3 *"),
        ("RCPT TO:<ann@example.org> NOTIFY=NEVER,DELAY", "501 5.5.4 *"),
        ("RCPT TO:<ann@example.org> ORCPT=x", "501 5.5.4 *"),
        ("RCPT TO:<ann@example.org> FROB=1", "555 5.5.4 *"),
        ("RCPT TO:<nobody@example.org>", "550 5.1.1 *"),
        ("RCPT TO:<a@elsewhere.net>", "550 5.7.1 *"),
        ("STARTTLS", "503 5.5.1 *"),
        ("RCPT TO:<ann@example.org>", "250 2.1.5 *"),
    ],
    "RECIPIENTS": [("DATA now", "501 5.5.4 *"), ("STARTTLS", "503 5.5.1 *"), ("DATA", "354 *")],
}
"""What is wrong in each phase, and the command that leads on to the next."""


@pytest.mark.parametrize("at_once", [True, False])
async def test_every_mistake_gets_its_reply_and_the_session_goes_on(start: Any, people: Any, at_once: bool) -> None:
    service = await start(limits={"errors": 1000})
    lines = [line for phase in SYNTAX.values() for line in phase]
    async with await service.connect() as talk:
        await talk.play("S: 220 *")
        if at_once:
            talk.send("".join(f"{line}\r\n" for line, _ in lines).encode())
        for line, answer in lines:
            await talk.play(f"S: {answer}" if at_once else f"C: {line}\nS: {answer}")
        await talk.play("C: x\nC: .\nS: 250 2.6.0 *\nC: QUIT\nS: 221 *\nS:")
    assert len(await service.inbox(people[0])) == 1


async def until_closed(talk: Any) -> None:
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(talk.reader.read(), 90)


async def sent(talk: Any, content: bytes) -> str:
    await talk.play(ENVELOPE + DATA)
    for position in range(0, len(content), 65_536):
        talk.send(content[position : position + 65_536])
        await talk.writer.drain()
    talk.send(b"\r\n.\r\n")
    return str(await talk.reply())


NESTED = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(1000))
HOSTILE = {
    "a header line of 1 MB": (b"Subject: " + b"x" * 1_000_000 + b"\r\n\r\nx", "500 5.6.0 *"),
    "a folded header field of 1 MB": (b"Subject: " + b"x\r\n " * 250_000 + b"\r\n\r\nx", "250 2.6.0 *"),
    "100,000 header fields": (b"X-A: b\r\n" * 100_000 + b"\r\nx", "250 2.6.0 *"),
    "100,000 addresses": (b"To: " + b"a@b.org,\r\n " * 100_000 + b"c@d.org\r\n\r\nx", "250 2.6.0 *"),
    "MIME nested 1,000 deep": (NESTED + b"deep", "250 2.6.0 *"),
    "messages nested 1,000 deep": (b"Content-Type: message/rfc822\r\n\r\n" * 1000 + b"deep", "250 2.6.0 *"),
    "a body of empty lines": (b"\r\n" * 500_000, "250 2.6.0 *"),
    "a body of dots": (b"..\r\n" * 250_000, "250 2.6.0 *"),
    "nothing": (b"", "250 2.6.0 *"),
    "no header at all": (b"\xff\xfe" * 400, "250 2.6.0 *"),
}


async def test_hostile_content_is_stored_or_refused_and_the_session_goes_on(service: Any, people: Any) -> None:
    stored = 0
    async with await service.connect() as talk:
        await talk.play(HELLO)
        for what, (content, answer) in HOSTILE.items():
            found = await sent(talk, content)
            assert found.startswith(answer.rstrip("*")), (what, found)
            stored += found.startswith("250")
        await talk.play("C: NOOP\nS: 250 *")
    found = await service.inbox(people[0])
    assert len(found) == stored
    assert found[0].endswith(HOSTILE["a folded header field of 1 MB"][0] + b"\r\n")


async def test_where_long_lines_are_allowed_a_header_line_of_1_mb_is_stored(start: Any, people: Any) -> None:
    service = await start(allow_long_lines=True)
    async with await service.connect() as talk:
        await talk.play(HELLO)
        assert (await sent(talk, HOSTILE["a header line of 1 MB"][0])).startswith("250 2.6.0")
    assert len((await service.inbox(people[0]))[0]) > 1_000_000


async def test_a_submission_whose_header_section_has_no_end_in_sight_is_refused(service: Any, people: Any) -> None:
    async with await service.connect("plain") as talk:
        await talk.play(HELLO + "C: AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBjb3JyZWN0IGhvcnNl\nS: 235 *")
        await talk.play("C: MAIL FROM:<ann@example.org>\nS: 250 *\nC: RCPT TO:<bob@example.org>\nS: 250 *\n" + DATA)
        talk.send(b"X-A: b\r\n" * 140_000 + b"\r\nx\r\n.\r\n")
        await talk.play("S: 552 5.3.4 *\nC: NOOP\nS: 250 *")
    assert await service.inbox(people[1]) == []


async def test_a_slow_but_steady_sender_is_served(service: Any, people: Any) -> None:
    wire = (
        b"EHLO c\r\nMAIL FROM:<e@f.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nSubject: s\r\n\r\nslow\r\n.\r\nQUIT\r\n"
    )
    async with await service.connect() as talk:
        for octet in wire:
            talk.send(bytes([octet]))
            await asyncio.sleep(0)
        await talk.play("S: 220 *\nS: 250-*\nS: 250 *\nS: 250 *\nS: 354 *\nS: 250 2.6.0 *\nS: 221 *\nS:")
    assert (await service.inbox(people[0]))[0].endswith(b"slow\r\n")


LIFE = (
    b"EHLO c\r\n|MAIL FROM:<e@f.net>\r\n|RCPT TO:<ann@exa|mple.org>\r\n|DATA\r\n|Subject: x\r\n\r\nhalf|\r|\n|.|\r",
    b"EHLO c\r\n|MAIL FROM:<e@f.net>\r\n|RCPT TO:<ann@example.org>\r\n|BDAT 5\r\n|12|34\r|BDAT 40000 LA|ST\r\n|\nyo",
    b"EHLO c\r\n|AUTH LOGIN\r\n|YW5uQGV4YW1wbGUub3Jn\r\n|Y29y",
    b"EHLO c\r\n|STARTTLS\r\n|\x16\x03\x01\x02\x00\x01|\x00\x01\xfc\x03\x03",
)
"""Each cut is a moment at which a client goes away; none of them has said all of a message."""


@pytest.mark.parametrize("politely", [True, False])
async def test_a_client_that_goes_away_in_any_state_leaves_nothing(start: Any, people: Any, politely: bool) -> None:
    service = await start(limits={"content_in_memory": 4096})
    for life in LIFE:
        parts = life.split(b"|")
        for said in range(len(parts) + 1):
            for name in ("smtp", "submission", "submissions", "proxied"):
                talk = await service.connect(name)
                talk.send(b"".join(parts[:said]))
                if said == len(parts):
                    talk.send(b"x" * 10_000)  # past what is kept in memory
                await talk.writer.drain()
                if politely:
                    talk.writer.write_eof()
                    await until_closed(talk)
                    talk.writer.close()
                else:
                    talk.writer.transport.abort()
    async with asyncio.timeout(90):
        while service.parts.door.count:  # noqa: ASYNC110 (a bounded poll)
            await asyncio.sleep(0.005)
    assert await service.inbox(people[0]) == []
    assert list(service.parts.spool.iterdir()) == []
    assert service.parts.figures.bugs._value.get() == 0, service.log.getvalue()


async def test_garbage_where_tls_should_start_ends_that_connection_alone(service: Any, people: Any) -> None:
    for garbage in (b"", b"\0" * 1000, b"\x16\x03\x01\xff\xff" + b"x" * 70_000, b"GET / HTTP/1.0\r\n\r\n"):
        async with await service.connect() as talk:
            await talk.play(HELLO + "C: STARTTLS\nS: 220 *")
            talk.send(garbage)
            talk.writer.write_eof()
            await until_closed(talk)
        async with await service.connect("submissions") as talk:
            talk.send(garbage)
            talk.writer.write_eof()
            await until_closed(talk)
    async with await service.connect() as talk:
        await talk.play(HELLO)
    assert service.parts.figures.bugs._value.get() == 0, service.log.getvalue()


@contextlib.contextmanager
def no_file_larger_than(octets: int) -> Iterator[None]:
    """As on a full disk, writes fail; Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("how", ["DATA", "BDAT", "LMTP"])
async def test_a_disk_that_is_full_puts_the_message_off_and_the_session_goes_on(
    start: Any, people: Any, how: str
) -> None:
    service = await start(limits={"content_in_memory": 4096})
    big = b"line of text\r\n" * 40_000
    async with await service.connect("lmtp" if how == "LMTP" else "smtp") as talk:
        await talk.play(HELLO.replace("EHLO", "LHLO") if how == "LMTP" else HELLO)
        with no_file_larger_than(65_536):
            await talk.play(ENVELOPE)
            if how == "BDAT":
                talk.send(b"BDAT %d\r\n%b" % (len(big), big))
                await talk.play("S: 452 4.3.1 *")
            else:
                await talk.play(DATA)
                talk.send(big + b".\r\n")
                await talk.play("S: 452 4.3.1 *")
        await talk.play(ENVELOPE + DATA)
        talk.send(big + b".\r\n")
        await talk.play("S: 250 2.6.0 *\nC: QUIT\nS: 221 *")
    assert len(await service.inbox(people[0])) == 1
    assert list(service.parts.spool.iterdir()) == []


@pytest.mark.parametrize("listener", ["smtp", "lmtp"])
async def test_a_quota_reached_between_rcpt_and_the_end_of_data(
    service: Any, people: Any, account: Any, listener: str
) -> None:
    """By SMTP nobody gets a message that not everybody can get; by LMTP each recipient has a reply of its own."""
    small = await account("small@example.org", quota=5000)
    message = b"Subject: x\r\n\r\n" + b"line of text\r\n" * 200
    hello = HELLO.replace("EHLO", "LHLO") if listener == "lmtp" else HELLO
    both = ENVELOPE + "C: RCPT TO:<small@example.org>\nS: 250 *\n" + DATA
    first, second = await service.connect(listener), await service.connect(listener)
    for talk in (first, second):
        await talk.play(hello + both)
    first.send(message + b".\r\n")
    await first.play("S: 250 2.6.0 *\n" + ("S: 250 2.6.0 *\n" if listener == "lmtp" else ""))
    second.send(message.replace(b"Subject: x", b"Subject: y") + b".\r\n")
    if listener == "lmtp":
        await second.play("S: 250 2.6.0 *\nS: 452 4.2.2 *")
    else:
        await second.play("S: 452 4.2.2 *")
    await second.play("C: NOOP\nS: 250 *")
    assert len(await service.inbox(small)) == 1
    assert len(await service.inbox(people[0])) == (2 if listener == "lmtp" else 1)
    boxes = await service.parts.storage.mail.mailboxes(small.id)
    assert [box.total for box in boxes if box.role is Role.INBOX] == [1]
    for talk in (first, second):
        talk.writer.close()
