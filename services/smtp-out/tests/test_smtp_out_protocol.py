"""The client's protocol core: replies in any cut and of any garbage, transactions as tables, stuffing and back."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_smtp_out.protocol.capabilities import Capabilities, read_capabilities
from posthorn_smtp_out.protocol.content import in_lines, is_eight_bit, stuffed, without_return_path
from posthorn_smtp_out.protocol.envelope import Envelope, EnvelopeRecipient, mail_line, obstacle, rcpt_line
from posthorn_smtp_out.protocol.replies import MAX_LINE, Reply, ReplyFault, ReplyReader
from posthorn_smtp_out.protocol.transaction import Step, Transaction

WIRE = b"220 hi\r\n250-first\r\n250-SIZE 100\r\n250 8BITMIME\r\n550 5.1.1 no\x07such\r\n354\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 5, 100])
def test_replies_are_the_same_in_any_cut(step: int) -> None:
    reader = ReplyReader()
    found = [reply for at in range(0, len(WIRE), step) for reply in reader.feed(WIRE[at : at + step])]
    assert found == [
        Reply(220, ("hi",)),
        Reply(250, ("first", "SIZE 100", "8BITMIME")),
        Reply(550, ("5.1.1 no such",)),
        Reply(354, ("",)),
    ]
    assert reader.empty


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"99 x\r\n",
        b"2500 x\r\n",
        b"150 x\r\n",
        b"650 x\r\n",
        b"250_x\r\n",
        b"250-a\r\n550 b\r\n",
        b"x" * (MAX_LINE + 1),
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"250-x\r\n" * 200,
        b"\x16\x03\x01\x00\xa5\n",
    ],
)
def test_garbage_is_a_fault_and_not_kept(garbage: bytes) -> None:
    with pytest.raises(ReplyFault):
        ReplyReader().feed(garbage)


@given(st.binary(max_size=5000))
def test_any_octets_are_replies_or_a_fault(data: bytes) -> None:
    reader = ReplyReader()
    try:
        for reply in reader.feed(data):
            assert 200 <= reply.code < 600
            assert "\n" not in reply.text
    except ReplyFault:
        pass


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(250, ("2.6.0 ok",)), "2.6.0"),
        (Reply(550, ("5.1.1",)), "5.1.1"),
        (Reply(550, ("4.1.1 the class does not fit",)), "5.0.0"),
        (Reply(451, ("try later",)), "4.0.0"),
        (Reply(550, ("5.1.1234 x",)), "5.0.0"),
    ],
)
def test_enhanced_status_is_taken_when_it_fits(reply: Reply, status: str) -> None:
    assert reply.status == status


def test_capabilities_are_read_and_strange_lines_skipped() -> None:
    lines = ("mx greets you", "pipelining", "SIZE", "AUTH plain LOGIN", "", "X-FROB 1 2", "Smtputf8")
    assert read_capabilities(Reply(250, lines)) == Capabilities(
        pipelining=True, size=0, auth=frozenset({"PLAIN", "LOGIN"}), smtputf8=True
    )
    assert read_capabilities(Reply(250, ("x", "SIZE many"))).size == 0
    assert read_capabilities(Reply(250, ("PIPELINING",))) == Capabilities()


ANN = EnvelopeRecipient(1, "ann@example.org", "FAILURE", "rfc822;ann@example.org")
BOB = EnvelopeRecipient(2, "bob@example.org")
ENVELOPE = Envelope("me@example.net", [ANN, BOB], 1234, eight_bit=True, smtputf8=False, ret="HDRS", envid="q1")
EVERYTHING = Capabilities(pipelining=True, eight_bit=True, smtputf8=True, dsn=True, size=0)


def test_lines_carry_what_the_remote_knows() -> None:
    assert mail_line(ENVELOPE, EVERYTHING) == (
        b"MAIL FROM:<me@example.net> SIZE=1234 BODY=8BITMIME RET=HDRS ENVID=q1\r\n"
    )
    assert mail_line(ENVELOPE, Capabilities()) == b"MAIL FROM:<me@example.net>\r\n"
    assert rcpt_line(ANN, EVERYTHING) == b"RCPT TO:<ann@example.org> NOTIFY=FAILURE ORCPT=rfc822;ann@example.org\r\n"
    assert rcpt_line(ANN, Capabilities()) == b"RCPT TO:<ann@example.org>\r\n"


def test_what_cannot_be_sent_is_known_before() -> None:
    plain = Envelope("a@b.org", [BOB], 100, eight_bit=False, smtputf8=False)
    wide = Envelope("a@b.org", [EnvelopeRecipient(1, "jürgen@example.org")], 100, eight_bit=False, smtputf8=True)
    assert obstacle(plain, Capabilities(size=99)) is not None
    assert obstacle(plain, Capabilities(size=0)) is None
    assert obstacle(plain, Capabilities()) is None
    assert obstacle(ENVELOPE, Capabilities()) is not None
    assert obstacle(wide, Capabilities(eight_bit=True)) is not None
    transaction = Transaction(wide, Capabilities())
    assert transaction.next_lines() == b""
    assert transaction.replies[1].status == "5.6.7"


OK = Reply(250, ("2.0.0 ok",))
GO = Reply(354, ("go",))
NO = Reply(550, ("5.1.1 no",))
LATER = Reply(451, ("4.3.0 later",))


def test_a_pipelined_transaction_is_one_write() -> None:
    transaction = Transaction(ENVELOPE, EVERYTHING)
    assert transaction.next_lines().count(b"\r\n") == 4
    for reply in (OK, OK, NO, GO):
        transaction.feed(reply)
    assert transaction.content_wanted
    assert transaction.accepted == [ANN]
    transaction.content_sent()
    assert transaction.awaited is Step.END
    transaction.feed(LATER)
    assert transaction.replies == {1: LATER, 2: NO}
    assert not transaction.open


def test_without_pipelining_each_line_waits_for_its_reply() -> None:
    transaction = Transaction(ENVELOPE, Capabilities(eight_bit=True))
    sent = []
    for reply in (OK, NO, OK, GO):
        sent.append(transaction.next_lines()[:4])
        assert transaction.next_lines() == b""
        transaction.feed(reply)
    assert sent == [b"MAIL", b"RCPT", b"RCPT", b"DATA"]
    assert transaction.accepted == [BOB]
    assert transaction.content_wanted


def test_refused_mail_decides_about_everybody_though_more_replies_come() -> None:
    transaction = Transaction(ENVELOPE, EVERYTHING)
    transaction.next_lines()
    for reply in (LATER, Reply(503, ("x",)), Reply(503, ("x",)), Reply(503, ("x",))):
        transaction.feed(reply)
    assert transaction.replies == {1: LATER, 2: LATER}
    assert not transaction.content_wanted


def test_nobody_accepted_but_354_needs_an_end_of_data() -> None:
    transaction = Transaction(ENVELOPE, EVERYTHING)
    transaction.next_lines()
    for reply in (OK, NO, NO, GO):
        transaction.feed(reply)
    assert transaction.content_wanted
    assert transaction.accepted == []
    transaction.content_sent()
    transaction.feed(OK)
    assert transaction.replies == {1: NO, 2: NO}


def test_nobody_accepted_without_pipelining_sends_no_data() -> None:
    transaction = Transaction(ENVELOPE, Capabilities(eight_bit=True))
    for reply in (OK, NO, NO):
        transaction.next_lines()
        transaction.feed(reply)
    assert transaction.next_lines() == b""
    assert transaction.open
    assert transaction.awaited is None


def test_too_many_recipients_is_temporary() -> None:
    transaction = Transaction(ENVELOPE, EVERYTHING)
    transaction.next_lines()
    for reply in (OK, OK, Reply(552, ("too many",)), GO):
        transaction.feed(reply)
    assert transaction.replies[2].code == 452


@pytest.mark.parametrize(
    ("replies", "crowded"),
    [
        ((b"250 ok", b"452 4.5.3 too many", b"452 no"), [2, 3]),
        ((b"250 ok", b"452 4.2.2 full", b"552 no"), [3]),
        ((b"452 4.5.3 too many", b"452 no", b"250 ok"), []),
    ],
)
def test_those_beyond_what_one_transaction_takes_are_known(replies: tuple[bytes, ...], crowded: list[int]) -> None:
    recipients = [EnvelopeRecipient(number, f"u{number}@x.example") for number in (1, 2, 3)]
    transaction = Transaction(replace(ENVELOPE, recipients=recipients), EVERYTHING)
    transaction.next_lines()
    for line in (b"250 ok", *replies, b"354 go"):
        transaction.feed(ReplyReader().feed(line + b"\r\n")[0])
    assert transaction.crowded == crowded


def test_a_lost_connection_leaves_decided_recipients_alone() -> None:
    transaction = Transaction(ENVELOPE, EVERYTHING)
    transaction.next_lines()
    transaction.feed(OK)
    transaction.feed(NO)
    transaction.give_up(LATER)
    assert transaction.replies == {1: NO, 2: LATER}


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b""),
        (b"a", b"a\r\n"),
        (b".", b"..\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n"),
        (b"a\n.\nb", b"a\r\n..\r\nb\r\n"),
        (b"a\r.\rb\r\n", b"a\r\n..\r\nb\r\n"),
        (b"a\r\r\n.\r\r\nb\r\n", b"a\r\n\r\n..\r\n\r\nb\r\n"),
    ],
)
def test_content_leaves_with_true_line_ends_only(content: bytes, wire: bytes) -> None:
    assert stuffed(in_lines(content)) == wire


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"..", b"\r\n.\r\n"]), max_size=40).map(b"".join))
def test_nothing_inside_content_can_end_it(content: bytes) -> None:
    wire = stuffed(in_lines(content))
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", wire)
    assert b"\r\n.\r\n" not in b"\r\n" + wire
    unstuffed = (b"\r\n" + wire).replace(b"\r\n.", b"\r\n")[2:]
    expected = re.sub(rb"\r(?!\n)|(?<!\r)\n", b"\r\n", content)
    assert unstuffed == expected + (b"" if not expected or expected.endswith(b"\r\n") else b"\r\n")


def test_only_a_leading_return_path_goes() -> None:
    assert without_return_path(b"Return-Path:\r\n <a@b.org>\r\nFrom: a\r\n\r\nx") == b"From: a\r\n\r\nx"
    assert without_return_path(b"From: a\r\nReturn-Path: <a>\r\n\r\n") == b"From: a\r\nReturn-Path: <a>\r\n\r\n"


def test_eight_bit_is_found() -> None:
    assert is_eight_bit("Grüße".encode())
    assert not is_eight_bit(b"plain")


ASKING = Envelope("a@b.org", [EnvelopeRecipient(1, "c@d.org")], size=1, eight_bit=False, smtputf8=False)


@pytest.mark.parametrize(
    ("asked", "offered", "line", "status"),
    [
        ({"by": 100}, "", None, "5.4.7"),
        ({"by": 100}, "DELIVERBY 101", None, "5.4.7"),
        ({"by": 0}, "DELIVERBY", None, "5.4.7"),
        ({"by": 100, "by_trace": True}, "DELIVERBY 100", "BY=100;RT", None),
        ({"by": -5, "by_return": False}, "DELIVERBY 100", "BY=-5;N", None),
        ({"by": -5, "by_return": False}, "", "", None),
        ({"priority": -3}, "MT-PRIORITY MIXER", "MT-PRIORITY=-3", None),
        ({"priority": -3}, "", "", None),
        ({"require_tls": True}, "REQUIRETLS", "REQUIRETLS", None),
        ({"require_tls": True}, "", None, "5.7.30"),
    ],
)
def test_what_the_sender_asked_for_is_passed_on_or_refused_where_it_must_be(
    asked: dict[str, Any], offered: str, line: str | None, status: str | None
) -> None:
    capabilities = read_capabilities(Reply(250, ("mx", *filter(None, [offered]))))
    envelope = replace(ASKING, **asked)
    refusal = obstacle(envelope, capabilities)
    assert (refusal.status if refusal else None) == status
    if line is not None:
        assert mail_line(envelope, capabilities).decode() == f"MAIL FROM:<a@b.org>{' ' if line else ''}{line}\r\n"
