"""Content filters in the running service: the real clamd and spamd, and filters that misbehave."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from posthorn_model.mail import Role
from posthorn_node.certificate import self_signed
from posthorn_smtp_in.filters.settings import ClamdSettings, RspamdSettings, SpamdSettings
from posthorn_storage.mail.messages import MessageFields
from posthorn_testkit.bad_filters import CLOSE, FLOOD, SILENCE, bad_filter
from posthorn_testkit.content_filters import EICAR, GTUBE

pytestmark = pytest.mark.postgres

ENVELOPE = "S: 220 *\nC: EHLO c\nS: 250-*\nC: MAIL FROM:<e@f.net>\nS: 250 *\nC: RCPT TO:<ann@example.org>\nS: 250 *\n"
HAM = (
    b"From: Eve <eve@example.net>\r\nTo: ann@example.org\r\nSubject: lunch on Friday\r\n"
    b"Message-ID: <m1@example.net>\r\nDate: " + format_datetime(datetime.now(UTC)).encode() + b"\r\n\r\n"
    b"Shall we meet at noon, as we did last week?\r\n"
)
INFECTED = (
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\nSubject: x\r\n\r\n--b\r\n'
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    + EICAR.encode()
    + b"\r\n--b--\r\n"
)


TIMES = {"connect": 60.0, "answer": 300.0}
"""What a filter may need that has little of a busy machine."""


def clamd_filter(address: str, **more: Any) -> dict[str, Any]:
    return {"virus": ClamdSettings(type="clamd", address=address, **{"timeouts": TIMES, **more})}


def spamd_filter(address: str, **more: Any) -> dict[str, Any]:
    return {"spam": SpamdSettings(type="spamd", address=address, **{"timeouts": TIMES, **more})}


def rspamd_filter(address: str, **more: Any) -> dict[str, Any]:
    return {"spam": RspamdSettings(type="rspamd", address=address, **{"timeouts": TIMES, **more})}


async def send(service: Any, content: bytes, answer: str, *, listener: str = "smtp") -> None:
    """One message to Ann, and the reply to its content."""
    async with await service.connect(listener) as talk:
        await talk.play((ENVELOPE if listener != "lmtp" else ENVELOPE.replace("EHLO", "LHLO")) + "C: DATA\nS: 354 *")
        talk.send(content + b".\r\n")
        await talk.play(f"S: {answer}\nC: NOOP\nS: 250 *")


@asynccontextmanager
async def behind_tls(address: str, pem: Any) -> AsyncIterator[int]:
    """The port of a server that passes TLS on to a filter in plain text."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = address.split(":")
        inner, outer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, outer), pump(inner, writer))

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def mailbox(service: Any, account: Any, role: Role) -> list[bytes]:
    mail = service.parts.storage.mail
    (box,) = [box for box in await mail.mailboxes(account.id) if box.role is role]
    ids = [entry.message for entry in await mail.entries(account.id, box.id)]
    stored = await mail.messages(account.id, ids, MessageFields.NONE)
    return [await service.parts.storage.blobs.read(account.id, each.blob) for each in stored]


def head_of(content: bytes) -> str:
    return content.partition(b"\r\n\r\n")[0].decode()


async def test_an_infected_message_is_refused_with_the_name_and_others_pass(
    start: Any, people: Any, clamd: Any
) -> None:
    for number, address in enumerate((clamd.address, f"unix:{clamd.socket}")):
        service = await start(filter=clamd_filter(address))
        await send(service, HAM.replace(b"m1@", b"%d@" % number), "250 *")
        await send(service, INFECTED, "554 5.7.1 The message is infected: Eicar-Test-Signature*")
        assert "filter='virus' result='rejected' detail='Eicar" in service.log.getvalue()
    assert len(await service.inbox(people[0])) == 2


@pytest.mark.parametrize(("infected", "role"), [("junk", Role.JUNK), ("discard", None)])
async def test_an_infected_message_goes_where_the_settings_say(
    start: Any, people: Any, clamd: Any, infected: Any, role: Role | None
) -> None:
    service = await start(filter=clamd_filter(clamd.address, infected=infected))
    await send(service, INFECTED, "250 2.6.0 *")
    found = {each: await mailbox(service, people[0], each) for each in (Role.INBOX, Role.JUNK)}
    assert {each for each, contents in found.items() if contents} == ({role} if role else set())


async def test_many_messages_share_a_session_and_a_larger_one_than_clamd_takes_is_its_failure(
    start: Any, people: Any, clamd: Any
) -> None:
    service = await start(filter=clamd_filter(clamd.address))
    for number in range(3):
        await send(service, HAM.replace(b"m1@", f"{number}@".encode()), "250 *")
    large = HAM + (b"y" * 76 + b"\r\n") * (clamd.stream_limit // 78 + 1000)
    await send(service, large, "451 4.7.1 *")
    await send(service, HAM.replace(b"m1@", b"9@"), "250 *")
    small = await start(filter=clamd_filter(clamd.address, max_size=clamd.stream_limit))
    await send(small, large, "250 *")
    assert "result='skipped'" in small.log.getvalue()


async def test_spam_is_marked_and_goes_to_junk_and_forged_marks_go(start: Any, people: Any, spamd: str) -> None:
    service = await start(filter=spamd_filter(spamd))
    forged = b"X-Spam-Flag: NO\r\nX-Spam-Status: No, score=-100\r\n\tfolded\r\n" + HAM
    await send(service, forged, "250 *")
    await send(service, HAM.replace(b"m1@", b"m2@") + GTUBE.encode() + b"\r\n", "250 *")
    (ham,), (spam,) = await mailbox(service, people[0], Role.INBOX), await mailbox(service, people[0], Role.JUNK)
    status = r"X-Spam-Status: {}, score=(-?\d+\.\d) required=5\.0\s+tests=[A-Z0-9_,\s]+\sby=spam\r\n"
    assert re.search(status.format("No"), head_of(ham))
    assert "X-Spam-Flag" not in head_of(ham)
    assert ham.endswith(HAM)
    found = re.search(status.format("Yes"), head_of(spam))
    assert found is not None
    assert float(found[1]) > 900
    assert "GTUBE" in found[0]
    assert "X-Spam-Flag: YES\r\n" in head_of(spam)
    # Return-Path, Received, what the filter says, what the client sent
    names = re.findall(r"^([A-Za-z-]+):", head_of(spam), re.MULTILINE)
    assert names[:6] == ["Return-Path", "Received", "X-Spam-Status", "X-Spam-Score", "X-Spam-Flag", "From"]


async def test_scripts_hear_what_filters_found(start: Any, people: Any, spamd: str, clamd: Any) -> None:
    service = await start(filter=spamd_filter(spamd) | clamd_filter(clamd.address, infected="junk"))
    script = b"""require ["spamtest", "spamtestplus", "virustest", "relational", "imap4flags",
            "comparator-i;ascii-numeric"];
        if virustest :value "eq" :comparator "i;ascii-numeric" "1" { addflag "clean"; }
        if virustest :value "eq" :comparator "i;ascii-numeric" "5" { addflag "infected"; }
        if spamtest :percent :value "ge" :comparator "i;ascii-numeric" "100" { addflag "spam"; }
        if spamtest :value "eq" :comparator "i;ascii-numeric" "0" { addflag "untested"; }"""
    sieve = service.parts.storage.sieve
    await sieve.put(people[0].id, "main", script.decode().replace("\n", "\r\n"))
    await sieve.activate(people[0].id, "main")
    await send(service, HAM, "250 *")
    await send(service, HAM.replace(b"m1@", b"m2@") + GTUBE.encode() + b"\r\n", "250 *")
    await send(service, INFECTED, "250 *")
    flags = []
    for box in await service.parts.storage.mail.mailboxes(people[0].id):
        entries = await service.parts.storage.mail.entries(people[0].id, box.id)
        flags += [set(entry.flags.keywords) for entry in entries]
    assert sorted(map(sorted, flags)) == [["clean"], ["clean", "spam"], ["infected", "spam"]]


async def test_a_filter_behind_tls_is_asked_when_its_certificate_is_trusted(
    start: Any, people: Any, rspamd: str, tmp_path: Any
) -> None:
    pem = self_signed(tmp_path / "filter", "localhost")
    async with behind_tls(rspamd, pem) as port:
        trusting = {"enable": True, "ca": str(pem)}
        service = await start(filter=rspamd_filter(f"localhost:{port}", tls=trusting))
        await send(service, HAM + GTUBE.encode() + b"\r\n", "550 5.7.1 Gtube pattern")
        other = await start(filter=rspamd_filter(f"localhost:{port}", tls={"enable": True}))
        await send(other, HAM, "451 4.7.1 *")
        assert "cannot connect" in other.log.getvalue()


async def test_thresholds_of_the_settings_rule_and_the_fields_may_be_those_of_spamassassin(
    start: Any, people: Any, spamd: str
) -> None:
    service = await start(filter=spamd_filter(spamd, reject_score=100, junk_score=-50, command="headers"))
    await send(service, HAM + GTUBE.encode() + b"\r\n", "550 5.7.1 *")
    await send(service, HAM, "250 *")
    (content,) = await mailbox(service, people[0], Role.JUNK)
    assert "X-Spam-Checker-Version: SpamAssassin" in head_of(content)
    silent = await start(filter=spamd_filter(spamd, write_fields=False, command="check"))
    await send(silent, HAM.replace(b"m1@", b"m3@"), "250 *")
    assert "X-Spam" not in head_of((await mailbox(silent, people[0], Role.INBOX))[0])


async def test_rspamd_sees_the_envelope_and_changes_fields(start: Any, people: Any, rspamd: str) -> None:
    service = await start(filter=rspamd_filter(rspamd))
    await send(service, b"X-Ask: 1\r\nX-Spam: yes\r\n" + HAM, "250 *")
    await send(service, b"X-Ask: 1\r\n" + HAM.replace(b"m1@", b"m2@"), "250 *")
    (content, _) = await mailbox(service, people[0], Role.INBOX)
    names = re.findall(r"^([A-Za-z-]+):", head_of(content), re.MULTILINE)
    own = ["X-Spam-Status", "X-Spam-Score", "X-Seen"]
    assert names == ["Return-Path", "Received", *own, "From", "To", "Subject", "Message-ID", "Date", "X-Many", "X-Many"]
    assert "X-Seen: e@f.net 127.0.0.1 c\r\n" in head_of(content)
    unchanged = await start(filter=rspamd_filter(rspamd, change_fields=False, write_fields=False))
    sent = b"X-Ask: 1\r\nX-Spam: yes\r\n" + HAM.replace(b"m1@", b"m3@")
    await send(unchanged, sent, "250 *")
    assert (await mailbox(service, people[0], Role.INBOX))[2].endswith(sent)


async def test_rspamd_refuses_with_its_words_or_says_junk(start: Any, people: Any, rspamd: str) -> None:
    service = await start(filter=rspamd_filter(rspamd))
    await send(service, HAM + GTUBE.encode() + b"\r\n", "550 5.7.1 Gtube pattern")
    await send(service, HAM + b"Y" + GTUBE[1:].encode() + b"\r\n", "250 *")
    (content,) = await mailbox(service, people[0], Role.JUNK)
    assert "X-Spam-Flag: YES" in head_of(content)
    lenient = await start(filter=rspamd_filter(rspamd, reject_score=1000, on_failure="open"))
    await send(lenient, HAM.replace(b"m1@", b"m2@") + GTUBE.encode() + b"\r\n", "250 *")
    assert len(await mailbox(service, people[0], Role.JUNK)) == 2


async def test_filters_are_asked_side_by_side_and_the_gravest_decides(
    start: Any, people: Any, rspamd: str, spamd: str, clamd: Any
) -> None:
    service = await start(
        filter=clamd_filter(clamd.address) | spamd_filter(spamd) | {"other": rspamd_filter(rspamd)["spam"]}
    )
    await send(service, HAM + EICAR.encode() + b"\r\n" + GTUBE.encode() + b"\r\n", "554 5.7.1 *infected*")
    await send(service, HAM, "250 *")
    assert service.log.getvalue().count("event='filtered'") == 6


async def test_only_the_listeners_named_ask_a_filter(start: Any, people: Any, spamd: str) -> None:
    service = await start(filter=spamd_filter(spamd, reject_score=100, listeners=("lmtp",)))
    await send(service, HAM + GTUBE.encode() + b"\r\n", "250 *")
    await send(service, HAM + GTUBE.encode() + b"\r\n", "550 5.7.1 *", listener="lmtp")


BAD = [
    (CLOSE, b""),
    (CLOSE, b"noon"),
    (SILENCE, b""),
    (FLOOD, b"noon"),
    (FLOOD, b""),
    (b"220 mx.example.org ESMTP\r\n", b""),
    (b"SPAMD/1.1 0 EX_OK\r\nContent-length: 99999999999\r\nSpam: True ; 1 / 5\r\n\r\n", b"noon"),
    (b"SPAMD/1.1 76 EX_PROTOCOL Bad header line\r\n\r\n", b"noon"),
    (b"SPAMD/1.1 0 EX_OK\r\n\r\n", b"noon"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"noon"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b" " * 2_000_000, b"noon"),
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b"noon"),
    (b"1: stream: \xff\xff\0", b"noon"),
    (b"1: stream: OK\0" + b"2: stream: OK\0", b"noon"),
]


async def test_a_bad_filter_defers_mail_or_lets_it_pass_as_the_settings_say(start: Any, people: Any) -> None:
    kinds = {b"HTTP": rspamd_filter, b"1: s": clamd_filter, FLOOD[:4]: clamd_filter, CLOSE[:4]: rspamd_filter}
    for number, (answer, after) in enumerate(BAD):
        make = kinds.get(answer[:4], spamd_filter)
        async with bad_filter(answer, after=after) as address:
            times = {"answer": 0.3, "connect": 0.3}
            closed = await start(filter=make(address, timeouts=times))
            await send(closed, HAM, "451 4.7.1 A content filter does not answer, try again later")
            assert "result='failed'" in closed.log.getvalue(), answer
            service = await start(filter=make(address, timeouts=times, on_failure="open"))
            await send(service, HAM.replace(b"m1@", b"%d@" % number), "250 *")
        assert len(await service.inbox(people[0])) == number + 1, answer


async def test_a_filter_that_is_not_there_defers_mail(start: Any, people: Any, tmp_path: Any) -> None:
    service = await start(filter=clamd_filter(f"unix:{tmp_path}/nobody"))
    await send(service, HAM, "451 4.7.1 *")
    assert await service.inbox(people[0]) == []
    assert "cannot connect: No such file or directory" in service.log.getvalue()
