"""Submission: what may be asked of the queue and what it is told, who may write as whom, what is told of clients."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_model.queue_items import NO_TERMS, Terms
from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.protocol.commands import Mail
from posthorn_smtp_in.protocol.problems import CommandProblem
from posthorn_smtp_in.protocol.reading import read_command
from posthorn_smtp_in.protocol.requests import NOTHING, DeliverBy, Requests, take_requests
from posthorn_smtp_in.submission.authors import authors_of
from posthorn_smtp_in.submission.extensions import Offered, judge_requests, keywords, offered, terms_of
from posthorn_smtp_in.submission.settings import SubmissionSettings
from posthorn_storage.queue import QueueFilter

LOGIN = base64.b64encode(b"\0ann@example.org\0correct horse").decode()
HELLO = f"S: 220 *\nC: EHLO c\nS: 250-*\nC: AUTH PLAIN {LOGIN}\nS: 235 *\n"
SEND = "C: DATA\nS: 354 *\nC: Subject: x\nC:\nC: x\nC: .\nS: 250 *\n"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ALL = Offered(hold=3600, deliver_by=True, priority=True, require_tls=True)


def requests(parameters: str) -> Requests:
    command = read_command(f"MAIL FROM:<ann@example.org> {parameters}".encode())
    assert isinstance(command, Mail)
    return command.requests


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("", NOTHING),
        ("HOLDFOR=60", Requests(hold_for=60)),
        ("holduntil=2026-06-01t14:00:00+02:00", Requests(hold_until=NOW)),
        ("HOLDUNTIL=2026-06-01T12:00:00Z", Requests(hold_until=NOW)),
        ("BY=120;R", Requests(by=DeliverBy(120, returns=True, trace=False))),
        ("BY=-120;nt", Requests(by=DeliverBy(-120, returns=False, trace=True))),
        ("MT-PRIORITY=-9", Requests(priority=-9)),
        ("MT-PRIORITY=0 REQUIRETLS", Requests(priority=0, require_tls=True)),
    ],
)
def test_requests_are_read(parameters: str, expected: Requests) -> None:
    assert requests(parameters) == expected


@pytest.mark.parametrize(
    "parameters",
    ["HOLDFOR", "HOLDFOR=0", "HOLDFOR=-1", "HOLDFOR=1234567890", "HOLDFOR=1 HOLDUNTIL=2026-06-01T12:00:00Z",
     "HOLDUNTIL=2026-13-01T12:00:00Z", "HOLDUNTIL=2026-06-01", "HOLDUNTIL=0001-01-01T00:00:00+23:59", "BY=0;R", "BY=1",
     "BY=1;X", "BY=1;RN", "BY=1234567890;N", "MT-PRIORITY=10", "MT-PRIORITY=+1", "MT-PRIORITY=-0", "MT-PRIORITY",
     "REQUIRETLS=yes"],
)  # fmt: skip
def test_a_request_that_cannot_be_read_is_refused(parameters: str) -> None:
    with pytest.raises(CommandProblem) as caught:
        requests(parameters)
    assert caught.value.reply.code == 501


@given(
    st.dictionaries(
        st.sampled_from(["HOLDFOR", "HOLDUNTIL", "BY", "MT-PRIORITY", "REQUIRETLS", "SIZE"]),
        st.none() | st.text(alphabet="0123456789-+:;RNTZ.", max_size=30),
    )
)
def test_any_values_are_requests_or_a_refusal(parameters: dict[str, str | None]) -> None:
    size = parameters.get("SIZE", "none")
    try:
        found = take_requests(parameters)
    except CommandProblem:
        return
    assert parameters in ({}, {"SIZE": size})
    terms = terms_of(found, NOW.timestamp())
    assert -9 <= terms.priority <= 9
    assert (terms == NO_TERMS) == (found.by is None and not found.priority and not found.require_tls)


def test_only_what_is_offered_is_granted() -> None:
    at = NOW.timestamp()
    for parameters in ("HOLDFOR=60", "BY=60;R", "MT-PRIORITY=3", "REQUIRETLS"):
        refusal = judge_requests(requests(parameters), Offered(), at)
        assert refusal is not None
        assert refusal.code == 555
        assert judge_requests(requests(parameters), ALL, at) is None
    assert judge_requests(NOTHING, Offered(), at) is None
    for parameters in ("HOLDFOR=3601", "HOLDUNTIL=2026-06-01T13:00:01Z", "HOLDFOR=60 BY=60;R"):
        refusal = judge_requests(requests(parameters), ALL, at)
        assert refusal is not None
        assert (refusal.code, refusal.status) == (501, "5.5.4")
    for parameters in ("HOLDUNTIL=2020-01-01T00:00:00Z", "HOLDFOR=60 BY=60;N", "HOLDFOR=60 BY=61;R"):
        assert judge_requests(requests(parameters), ALL, at) is None


def test_the_greeting_says_what_is_offered_where() -> None:
    settings = SubmissionSettings(max_hold=3600)
    lines = keywords(offered(settings, Kind.SUBMISSION, tls=True), NOW.timestamp())
    assert lines == ["FUTURERELEASE 3600 2026-06-01T13:00:00Z", "DELIVERBY", "MT-PRIORITY", "REQUIRETLS"]
    assert keywords(offered(settings, Kind.SUBMISSION, tls=False), 0.0)[1:] == ["DELIVERBY", "MT-PRIORITY"]
    assert keywords(offered(settings, Kind.SMTP, tls=True), 0.0) == ["REQUIRETLS"]
    for kind, tls in ((Kind.SMTP, False), (Kind.LMTP, True)):
        assert keywords(offered(settings, kind, tls=tls), 0.0) == []
    off = SubmissionSettings(max_hold=0, deliver_by=False, priority=False, require_tls=False)
    assert keywords(offered(off, Kind.SUBMISSION, tls=True), 0.0) == []


@pytest.mark.postgres
async def test_a_held_message_waits_in_the_queue_for_everybody(service: Any, people: Any) -> None:
    began = datetime.now(UTC)
    async with await service.connect("plain") as talk:
        await talk.play(HELLO)
        await talk.play("""
            C: MAIL FROM:<ann@example.org> HOLDFOR=600
            S: 250 *
            C: RCPT TO:<bob@example.org>
            S: 250 *
            C: RCPT TO:<eve@example.net>
            S: 250 *
        """)
        await talk.play(SEND)
    assert await service.inbox(people[1]) == []
    (queued,) = await service.parts.storage.queue.messages(QueueFilter())
    assert {(to.address, to.site) for to in queued.recipients} == {
        ("bob@example.org", "local"),
        ("eve@example.net", "example.net"),
    }
    for to in queued.recipients:
        assert timedelta(seconds=600) <= to.due - began < timedelta(seconds=660)


@pytest.mark.postgres
async def test_the_queue_is_told_what_was_asked_for(service: Any, people: Any) -> None:
    async with await service.connect("submissions", tls=True) as talk:
        await talk.play(HELLO)
        await talk.play("C: MAIL FROM:<ann@example.org> BY=3600;NT MT-PRIORITY=4 REQUIRETLS\nS: 250 *")
        await talk.play("C: RCPT TO:<eve@example.net>\nS: 250 *\nC: RCPT TO:<bob@example.org>\nS: 250 *\n" + SEND)
    assert len(await service.inbox(people[1])) == 1
    storage = service.parts.storage
    shard = storage.queue.shard_of("example.net")
    lease = f"queue/{shard}"
    epoch = (await storage.leases.acquire([lease], "test", 60))[lease]
    (due,) = await storage.queue.claim(shard, epoch, 10)
    assert due.terms == Terms(due.terms.deliver_by, by_return=False, by_trace=True, priority=4, require_tls=True)
    left = (due.terms.deliver_by - datetime.now(UTC)).total_seconds()
    assert 3500 < left <= 3600


@pytest.mark.postgres
async def test_requests_where_they_are_not_offered_are_refused(service: Any, people: Any) -> None:
    async with await service.connect() as talk:
        await talk.play("S: 220 *\nC: EHLO c\nS: 250-*")
        for parameters in ("HOLDFOR=60", "BY=60;R", "MT-PRIORITY=3", "REQUIRETLS"):
            await talk.play(f"C: MAIL FROM:<e@f.net> {parameters}\nS: 555 5.5.4 *")
        await talk.play("C: STARTTLS\nS: 220 *")
        await talk.starttls()
        await talk.play("C: EHLO c\nS: 250-*REQUIRETLS*\nC: MAIL FROM:<e@f.net> REQUIRETLS\nS: 250 *")


@pytest.mark.postgres
async def test_authors_must_belong_to_the_login_unless_the_settings_say_otherwise(start: Any, people: Any) -> None:
    envelope = "C: MAIL FROM:<ann@example.org>\nS: 250 *\nC: RCPT TO:<bob@example.org>\nS: 250 *\nC: DATA\nS: 354 *\n"
    service = await start()
    async with await service.connect("plain") as talk:
        await talk.play(HELLO)
        for author, answer in (
            ("Ann <ann+x@example.org>", "250 *"),
            ("eve@example.net", "550 5.7.1 eve@example.net *"),
            ("ann@example.org, bob@example.org", "550 5.7.1 bob@example.org *"),
            ("ann@example.org\r\nFrom: eve@example.net", "550 5.7.1 eve@example.net *"),
            (", ".join(f"ann+{n}@example.org" for n in range(101)), "550 5.7.1 *"),
        ):
            await talk.play(envelope)
            talk.send(f"From: {author}\r\n\r\nx\r\n.\r\n".encode().replace(b", ", b",\r\n "))
            await talk.play(f"S: {answer}")
    service = await start(submission=SubmissionSettings(check_from=False, hide_client=True))
    async with await service.connect("plain") as talk:
        await talk.play(HELLO + envelope + "C: From: eve@example.net\nC:\nC: x\nC: .\nS: 250 *")
    content = (await service.inbox(people[1]))[-1]
    assert b"\r\nReceived: by mx.example.org (Posthorn) with ESMTPA id " in content
    assert b"127.0.0.1" not in content


def test_authors_are_those_of_every_from_field() -> None:
    head = b"From: A <a@b.org>, G: c@d.org, e@f.org;\r\nSender: x@y.org\r\nfrom:\r\n\ta@b.org\r\n\r\n"
    assert authors_of(head) == ["a@b.org", "c@d.org", "e@f.org"]
    assert authors_of(b"\r\n") == []
