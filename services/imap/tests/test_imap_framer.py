"""The framer: every input whole, byte by byte and with trailing bytes gives the same events."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from posthorn_imap.protocol.framer import (
    Announced,
    Command,
    Event,
    Fatal,
    Framer,
    FramerLimits,
    Line,
    Literal,
    Malformed,
)

SMALL = FramerLimits(line=64, literals=3, skip=100)


def take(framer: Framer, policy: Callable[[Announced], bool]) -> list[Event]:
    found = []
    while (event := framer.next_event()) is not None:
        found.append(event)
        if isinstance(event, Announced):
            framer.accept() if policy(event) else framer.refuse()
    return found


def run(
    pieces: list[bytes], policy: Callable[[Announced], bool] = lambda _: True, limits: FramerLimits = SMALL
) -> list[Event]:
    framer = Framer(limits)
    found = []
    for piece in pieces:
        framer.feed(piece)
        found += take(framer, policy)
    return found


CASES: list[tuple[bytes, list[Event]]] = [
    (b"a NOOP\r\n", [Command((b"a NOOP",))]),
    (b"\r\n", [Command((b"",))]),
    (b"a NOOP\r\nb NOOP\r\n", [Command((b"a NOOP",)), Command((b"b NOOP",))]),
    (
        b"a LOGIN {3}\r\nann {2}\r\npw\r\n",
        [
            Announced(b"a LOGIN ", 3, True, 0),
            Announced(b"a LOGIN ", 2, True, 3),
            Command((b"a LOGIN ", Literal(b"ann"), b" ", Literal(b"pw"), b"")),
        ],
    ),
    (
        b"a X {5+}\r\n\r\n\0{1 ~{0+}\r\n y\r\n",
        [
            Announced(b"a X ", 5, False, 0),
            Announced(b"a X ", 0, False, 5),
            Command((b"a X ", Literal(b"\r\n\0{1"), b" ", Literal(b"", binary=True), b" y")),
        ],
    ),
    (b"a {x}\r\na {}\r\na {1} \r\n", [Command((b"a {x}",)), Command((b"a {}",)), Command((b"a {1} ",))]),
    (b"a NOOP\nb NOOP\r\n", [Malformed(b"a NOOP", "lines end with CRLF"), Command((b"b NOOP",))]),
    (b"a NO\0OP\r\n", [Malformed(b"a NO\0OP", "NUL in a line")]),
    (b"a NO\rOP\r\n", [Malformed(b"a NO\rOP", "bare CR in a line")]),
    (b"a " + b"x" * 62 + b"\r\nb NOOP\r\n", [Command((b"a " + b"x" * 62,)), Command((b"b NOOP",))]),
    (
        b"a {1+}\r\nx{1+}\r\ny{1+}\r\nz{1+}\r\nw q\r\nb NOOP\r\n",
        [
            Announced(b"a ", 1, False, 0),
            Announced(b"a ", 1, False, 1),
            Announced(b"a ", 1, False, 2),
            Malformed(b"a ", "more than 3 literals"),
            Command((b"b NOOP",)),
        ],
    ),
    (b"a {101+}\r\n" + b"x" * 200, [Fatal("literal of 101 octets")]),
]


@pytest.mark.parametrize(("octets", "events"), CASES)
def test_known_answers_whole_and_byte_by_byte_and_with_a_trailing_piece(octets: bytes, events: list[Event]) -> None:
    assert run([octets]) == events
    assert run([bytes([octet]) for octet in octets]) == events
    assert run([octets + b"trailing {3"]) == events
    for cut in range(len(octets)):
        assert run([octets[:cut], octets[cut:]]) == events


@pytest.mark.parametrize("end", [b"\r\n", b"{9}\r\n", b"{9+}\r\n123456789 tail\r\n", b"\n"])
def test_an_over_long_command_costs_one_answer_and_its_tag_is_kept(end: bytes) -> None:
    octets = b"tag " + b"x" * 1000 + end + b"b NOOP\r\n"
    for pieces in ([octets], [bytes([octet]) for octet in octets]):
        first, second = run(pieces)
        assert isinstance(first, Malformed)
        assert first.head.startswith(b"tag xxx")
        assert first.reason == "command longer than 64 octets"
        assert second == Command((b"b NOOP",))


def test_an_endless_line_takes_no_memory() -> None:
    framer = Framer(SMALL)
    for _ in range(1000):
        framer.feed(b"x" * 1000)
        assert framer.next_event() is None
        assert framer.pending <= 64


def test_a_refused_literal_is_dropped_with_its_command() -> None:
    octets = b"a X {5+}\r\nhello {3+}\r\nyou end\r\nb X {5}\r\nc NOOP\r\n"
    expected = [Announced(b"a X ", 5, False, 0), Announced(b"b X ", 5, True, 0), Command((b"c NOOP",))]
    assert run([octets], lambda _: False) == expected
    assert run([bytes([octet]) for octet in octets], lambda _: False) == expected


def test_an_expected_line_has_no_literals() -> None:
    framer = Framer(SMALL)
    framer.feed(b"a AUTHENTICATE PLAIN\r\n")
    assert framer.next_event() == Command((b"a AUTHENTICATE PLAIN",))
    framer.expect_line()
    framer.feed(b"AAAA{3}\r\nb NOOP\r\n")
    assert framer.next_event() == Line(b"AAAA{3}")
    assert framer.next_event() == Command((b"b NOOP",))


def test_input_before_tls_can_be_dropped() -> None:
    framer = Framer(SMALL)
    framer.feed(b"a STARTTLS\r\nb LOGIN ann pw\r\n")
    assert framer.next_event() == Command((b"a STARTTLS",))
    assert framer.forget_input() == len(b"b LOGIN ann pw\r\n")
    assert framer.next_event() is None
    assert framer.between_commands


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_any_octets_give_the_same_events_however_they_arrive(octets: bytes, cuts: list[int], taken: bool) -> None:
    whole = run([octets], lambda _: taken)
    edges = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
    pieces = [octets[low:high] for low, high in itertools.pairwise(edges)]
    assert run(pieces, lambda _: taken) == whole


_TEXT = st.text("abc{}+0129~\r\n\0 ", max_size=30).map(str.encode)


@example([b"tag " + b"x" * 58, b"{5+}\r\nhello"])
@example([b"a \0{2+}\r\nhi", b"x" * 100])
@example([b"\r" + b"x" * 65])
@given(st.lists(st.one_of(_TEXT, st.binary(max_size=9).map(lambda b: b"{%d+}\r\n%s" % (len(b), b))), max_size=8))
def test_announcements_in_any_mixture_keep_their_order(pieces: list[bytes]) -> None:
    octets = b"".join(pieces) + b"\r\n"
    assert run([octets]) == run([bytes([octet]) for octet in octets])
