"""The dialogue as a value: command grammar, the state table, framing whole and byte by byte."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_smtp_in.protocol import replies
from posthorn_smtp_in.protocol.commands import Auth, Bare, Bdat, Command, Hello, Mail, Rcpt, Verb
from posthorn_smtp_in.protocol.content import ContentLimits, Fault
from posthorn_smtp_in.protocol.dialogue import (
    ChallengeAnswer,
    ChunkEnd,
    ContentEnd,
    ContentPiece,
    Dialogue,
    Event,
    Malformed,
)
from posthorn_smtp_in.protocol.problems import CommandProblem
from posthorn_smtp_in.protocol.reading import read_command
from posthorn_smtp_in.protocol.states import TABLE, Phase, out_of_sequence

LIMITS = ContentLimits(size=100_000)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"EHLO client.example.org", Hello(Verb.EHLO, "client.example.org")),
        (b"ehlo [192.0.2.1]", Hello(Verb.EHLO, "[192.0.2.1]")),
        (b"MAIL FROM:<>", Mail("")),
        (b"MAIL FROM: <Ann@Example.ORG>", Mail("Ann@example.org")),
        (b"mail from:<ann@example.org> SIZE=123 BODY=8bitmime", Mail("ann@example.org", size=123, eight_bit=True)),
        (b"MAIL FROM:<a@b.org> RET=HDRS ENVID=QQ+2B1", Mail("a@b.org", ret="HDRS", envid="QQ+2B1")),
        ("MAIL FROM:<jürgen@bücher.example> SMTPUTF8".encode(), Mail("jürgen@bücher.example", smtputf8=True)),
        (b"MAIL FROM:<a@b.org> AUTH=<>", None),
        (b"MAIL FROM:<a@b.org> AUTH=a+40b.org", Mail("a@b.org")),
        (b'RCPT TO:<"a b>c"@example.org>', Rcpt('"a b>c"@example.org')),
        (b'RCPT TO:<"ann"@example.org>', Rcpt("ann@example.org")),
        (b"RCPT TO:<@relay.example,@two.example:ann@example.org>", None),
        (b"RCPT TO:<@relay.example:ann@example.org>", Rcpt("ann@example.org")),
        (b"RCPT TO:<Postmaster>", Rcpt("postmaster")),
        (b"RCPT TO:<a@[IPv6:2001:db8::1]>", Rcpt("a@[IPv6:2001:db8::1]")),
        (
            b"RCPT TO:<a@b.org> NOTIFY=SUCCESS,delay ORCPT=rfc822;a@b.org",
            Rcpt("a@b.org", "SUCCESS,DELAY", "rfc822;a@b.org"),
        ),
        (b"BDAT 42", Bdat(42, last=False)),
        (b"bdat 0 last", Bdat(0, last=True)),
        (b"AUTH plain AGEAYg==", Auth("PLAIN", "AGEAYg==")),
        (b"AUTH LOGIN", Auth("LOGIN", None)),
        (b"AUTH PLAIN =", Auth("PLAIN", "")),
        (b"NOOP what ever", Bare(Verb.NOOP, "what ever")),
        (b"QUIT", Bare(Verb.QUIT)),
        (b"QUIT ", Bare(Verb.QUIT)),
    ],
)
def test_command_lines_are_read(line: bytes, command: Command | None) -> None:
    if command is None:
        assert read_command(line).verb in (Verb.MAIL, Verb.RCPT)
    else:
        assert read_command(line) == command


@pytest.mark.parametrize(
    ("line", "code", "status"),
    [
        (b"", 500, "5.5.1"),
        (b"FROB", 500, "5.5.1"),
        (b"EHLO", 501, "5.5.4"),
        (b"EHLO two words", 501, "5.5.4"),
        (b"MAIL FROM:ann@example.org", 501, "5.1.3"),
        (b"MAIL TO:<ann@example.org>", 501, "5.5.4"),
        (b"MAIL FROM:<ann>", 501, "5.1.3"),
        (b"MAIL FROM:<ann@>", 501, "5.1.3"),
        (b"MAIL FROM:<@example.org>", 501, "5.1.3"),
        (b"MAIL FROM:<a b@example.org>", 501, "5.1.3"),
        (b"MAIL FROM:<a@example.org>x", 501, "5.1.3"),
        (b"MAIL FROM:<a@example.org", 501, "5.1.3"),
        (b"MAIL FROM:<a@[300.1.1.1]>", 501, "5.1.3"),
        (b"MAIL FROM:<a@[2001:db8::1]>", 501, "5.1.3"),
        (b"MAIL FROM:<" + b"a" * 400 + b"@example.org>", 501, "5.1.3"),
        (b"MAIL FROM:<a@b.org> SIZE=abc", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.org> SIZE=1 SIZE=2", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.org> SIZE=" + b"9" * 21, 501, "5.5.4"),
        (b"MAIL FROM:<a@b.org> BODY=BINARYMIME", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.org> FROB=1", 555, "5.5.4"),
        (b"MAIL FROM:<a@b.org> RET=ALL", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.org> ENVID=a+zz", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.org>" + b" A=1" * 20, 501, "5.5.4"),
        ("MAIL FROM:<jürgen@example.org>".encode(), 553, "5.6.7"),
        (b"MAIL FROM:<j\xfcrgen@example.org> SMTPUTF8", 500, "5.5.2"),
        (b"RCPT TO:<>", 501, "5.1.3"),
        (b"RCPT TO:<a@b.org> NOTIFY=NEVER,SUCCESS", 501, "5.5.4"),
        (b"RCPT TO:<a@b.org> NOTIFY=", 501, "5.5.4"),
        (b"RCPT TO:<a@b.org> ORCPT=nothing", 501, "5.5.4"),
        (b"DATA now", 501, "5.5.4"),
        (b"BDAT", 501, "5.5.4"),
        (b"BDAT -1", 501, "5.5.4"),
        (b"BDAT 1 FIRST", 501, "5.5.4"),
        (b"AUTH", 501, "5.5.4"),
        (b"AUTH PLAIN a b", 501, "5.5.4"),
        (b"NOOP \x00", 500, "5.5.2"),
        (b"NOOP \x7f", 500, "5.5.2"),
    ],
)
def test_bad_lines_get_a_clear_reply(line: bytes, code: int, status: str) -> None:
    with pytest.raises(CommandProblem) as caught:
        read_command(line)
    assert (caught.value.reply.code, caught.value.reply.status) == (code, status)


def test_the_state_table_speaks_of_every_verb_in_every_phase() -> None:
    assert set(TABLE) == set(Verb)
    for verb in Verb:
        for phase in (Phase.FRESH, Phase.READY, Phase.SENDER, Phase.RECIPIENTS, Phase.CHUNKS):
            refusal = out_of_sequence(verb, phase)
            assert (refusal is None) == (phase in TABLE[verb].phases)
            assert refusal is None or refusal.code == 503


def answer_for(event: Event) -> replies.Reply:
    """A server that accepts everything."""
    match event:
        case Malformed(reply):
            return reply
        case Bare(Verb.DATA):
            return replies.START_CONTENT
        case Bare(Verb.QUIT):
            return replies.BYE
        case _:
            return replies.OK


def play(dialogue: Dialogue, wire: bytes, step: int) -> tuple[list[Event], bytes]:
    """Feed `wire` in steps; content pieces are joined so that cuts do not show."""
    events: list[Event] = []
    sent = b""
    for position in range(0, len(wire), step):
        dialogue.feed(wire[position : position + step])
        while (event := dialogue.next_event()) is not None:
            if not isinstance(event, ContentPiece):
                events.append(event)
                sent += dialogue.answer(answer_for(event))
            elif events and isinstance(events[-1], ContentPiece):
                events[-1] = ContentPiece(events[-1].data + event.data)
            else:
                events.append(event)
    return events, sent


CONVERSATION = (
    b"FROB\r\nMAIL FROM:<a@b.org>\r\nEHLO me\r\nMAIL FROM:<a@b.org>\r\nMAIL FROM:<a@b.org>\r\nDATA\r\n"
    b"RCPT TO:<c@d.org>\r\n"
    b"DATA\r\nSubject: x\r\n\r\n..hi\r\n.\r\n"
    b"MAIL FROM:<a@b.org>\r\nRCPT TO:<c@d.org>\r\nBDAT 7\r\nA: b\r\n\rBDAT 3 LAST\r\n\nyo"
    b"NOOP\nRSET\r\nBDAT 4\r\nDATANOOP\r\nQUIT\r\nNOOP after the end\r\n"
)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 4096])
def test_a_pipelined_conversation_is_the_same_in_any_cut(step: int) -> None:
    events, sent = play(Dialogue(LIMITS), CONVERSATION, step)
    assert events == [
        Malformed(replies.UNKNOWN_COMMAND),
        Malformed(replies.HELLO_FIRST),
        Hello(Verb.EHLO, "me"),
        Mail("a@b.org"),
        Malformed(replies.NESTED_MAIL),
        Malformed(replies.NO_RECIPIENTS),
        Rcpt("c@d.org"),
        Bare(Verb.DATA),
        ContentPiece(b"Subject: x\r\n\r\n.hi\r\n"),
        ContentEnd(19, None),
        Mail("a@b.org"),
        Rcpt("c@d.org"),
        ContentPiece(b"A: b\r\n"),
        ChunkEnd(7, None),
        ContentPiece(b"\r\nyo"),
        ContentEnd(10, None),
        Malformed(replies.BARE_LINE_END),
        Bare(Verb.RSET),
        Malformed(replies.NO_SENDER),
        Bare(Verb.NOOP),
        Bare(Verb.QUIT),
    ]
    codes = [int(line[:3]) for line in sent.splitlines()]
    assert codes == [500, 503, 250, 250, 503, 503, 250, 354, 250, 250, 250, 250, 250, 500, 250, 503, 250, 221]


def test_a_refused_command_does_not_move_the_state() -> None:
    dialogue = Dialogue(LIMITS)
    dialogue.feed(b"EHLO me\r\nMAIL FROM:<a@b.org>\r\nRCPT TO:<c@d.org>\r\n")
    for refusal in (replies.OK, replies.OK, replies.reply(550, "5.1.1", "No such user")):
        assert dialogue.next_event() is not None
        dialogue.answer(refusal)
    assert dialogue.phase is Phase.SENDER


def test_an_overlong_line_costs_one_reply_and_the_connection_lives() -> None:
    events, _ = play(Dialogue(LIMITS), b"NOOP " + b"x" * 100_000 + b"\r\nNOOP\r\n", 4096)
    assert events == [Malformed(replies.LINE_TOO_LONG), Bare(Verb.NOOP)]


def test_plaintext_sent_ahead_of_tls_is_forgotten() -> None:
    dialogue = Dialogue(LIMITS)
    dialogue.feed(b"EHLO me\r\nSTARTTLS\r\nMAIL FROM:<injected@example.org>\r\n")
    assert dialogue.next_event() == Hello(Verb.EHLO, "me")
    dialogue.answer(replies.OK)
    assert dialogue.next_event() == Bare(Verb.STARTTLS)
    dialogue.answer(replies.START_TLS)
    assert dialogue.forget_input() > 0
    assert dialogue.next_event() is None
    assert dialogue.phase is Phase.FRESH


def test_lmtp_wants_lhlo_and_takes_one_reply_per_recipient() -> None:
    dialogue = Dialogue(LIMITS, lmtp=True)
    events, _ = play(
        dialogue, b"EHLO me\r\nLHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.org>\r\nRCPT TO:<c@b.org>\r\nDATA\r\n", 10
    )
    assert events[0] == Malformed(replies.UNKNOWN_COMMAND)
    dialogue.feed(b"x\r\n.\r\n")
    assert dialogue.next_event() == ContentPiece(b"x\r\n")
    assert dialogue.next_event() == ContentEnd(3, None)
    assert (
        dialogue.answer_all((replies.OK, replies.reply(552, "5.2.2", "Full"))) == b"250 2.0.0 OK\r\n552 5.2.2 Full\r\n"
    )
    assert dialogue.phase is Phase.READY


def test_a_giant_chunk_is_refused_without_waiting_for_it() -> None:
    events, _ = play(
        Dialogue(LIMITS), b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.org>\r\nBDAT 99999999999999999999 LAST\r\n", 50
    )
    assert events[-1] == ContentEnd(99999999999999999999, Fault.FLOOD)


def encoded(text: str) -> bytes:
    return base64.b64encode(text.encode())


def test_auth_with_challenges_goes_through_the_dialogue() -> None:
    dialogue = Dialogue(LIMITS)
    play(dialogue, b"EHLO me\r\n", 100)
    dialogue.feed(b"AUTH LOGIN\r\n" + encoded("ann") + b"\r\n" + encoded("secret") + b"\r\nNOOP\r\n")
    assert dialogue.next_event() == Auth("LOGIN", None)
    assert dialogue.answer(replies.reply(334, "", "VXNlcm5hbWU6")) == b"334 VXNlcm5hbWU6\r\n"
    assert dialogue.next_event() == ChallengeAnswer(encoded("ann"))
    assert dialogue.answer(replies.reply(334, "", "UGFzc3dvcmQ6")) == b"334 UGFzc3dvcmQ6\r\n"
    assert dialogue.next_event() == ChallengeAnswer(encoded("secret"))
    dialogue.answer(replies.reply(235, "2.7.0", "OK"))
    assert dialogue.next_event() == Bare(Verb.NOOP)


def test_replies_never_carry_line_ends_of_others() -> None:
    wire = replies.reply(550, "5.1.1", "No such user a\r\nb@\x00example.org" + "x" * 900).encode()
    assert wire.count(b"\r\n") == 1
    assert len(wire) <= 512


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_end_in_replies_not_in_exceptions(wire: bytes, step: int) -> None:
    play(Dialogue(LIMITS), b"EHLO me\r\n" + wire + b"\r\n", step)


@given(st.binary(max_size=120))
def test_any_line_is_a_command_or_a_problem(line: bytes) -> None:
    for prefix in (b"", b"MAIL FROM:<", b"RCPT TO:<a@b.org> ", b"AUTH ", b"BDAT "):
        with contextlib.suppress(CommandProblem):
            assert isinstance(read_command(prefix + line).verb, Verb)
