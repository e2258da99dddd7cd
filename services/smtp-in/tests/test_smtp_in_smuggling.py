"""Smuggling: every mix of line ends around a dot, whole and cut at every place, is told from the one end of data.

What an answer should be is said here by searching the whole wire at once, which the reader never does.
"""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from posthorn_smtp_in.protocol import replies
from posthorn_smtp_in.protocol.commands import Bare, Mail, Verb
from posthorn_smtp_in.protocol.content import ContentLimits, DotReader, Fault
from posthorn_smtp_in.protocol.dialogue import ChunkEnd, ContentEnd, ContentPiece, Dialogue, Event, Malformed

LIMITS = ContentLimits(size=100_000)
END = b"\r\n.\r\n"
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")

MIXES = [b"".join(parts) for length in range(1, 9) for parts in product((b"\r", b"\n", b"."), repeat=length)]
"""Every string of up to eight CR, LF and dots."""
LINE_ENDS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\n", b"\0\r\n", b"\r\0\n", b"\x85", b"\x0b", b"\x0c")
DOTS = (b".", b". ", b" .", b".\0", b"\0.", b".\x1a", b"\xe2\x80\xa4", b"\x2e\x2e")
ENDS = sorted(
    end
    for end in {before + dot + after for before, dot, after in product(LINE_ENDS, DOTS, LINE_ENDS)}
    if END not in end
)
"""All that a careless server somewhere takes for the end of data, and more; the true one is in none of them."""
INSIDE = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n"


def expected(wire: bytes) -> tuple[bytes, bytes, bool] | None:
    """Content, what follows it, and whether a line end in it is bare; None while the content has no end."""
    content, end, rest = (b"\r\n" + wire).partition(END)
    if not end:
        return None
    content += b"\r\n"
    return content.replace(b"\r\n.", b"\r\n")[2:], rest, BARE.search(content) is not None


def in_pieces(wire: bytes) -> Iterator[list[bytes]]:
    """Cut in two at every place, whole, and octet by octet."""
    for cut in range(len(wire)):
        yield [wire[:cut], wire[cut:]]
    yield [wire[position : position + 1] for position in range(len(wire))]


def test_every_mix_of_cr_lf_and_dot_ends_data_only_where_the_whole_wire_says_so() -> None:
    for mix in MIXES:
        wire = b"a" + mix + b"b"
        wanted = expected(wire)
        for pieces in in_pieces(wire):
            reader, content, rest = DotReader(LIMITS), b"", b""
            for piece in pieces:
                if reader.done:
                    rest += piece
                else:
                    found, rest = reader.feed(piece)
                    content += found
            assert reader.done == (wanted is not None), (mix, pieces)
            if wanted is None:
                assert not rest, (mix, pieces)
                continue
            assert rest == wanted[1], (mix, pieces)
            assert (reader.rules.fault is Fault.BARE_LINE_END) == wanted[2], (mix, pieces)
            assert wanted[2] or content == wanted[0], (mix, pieces)


def conversation(wire: bytes, step: int) -> list[Event]:
    """What a server that accepts all it may hears, cut in pieces of `step`."""
    dialogue, events = Dialogue(LIMITS), []
    for position in range(0, len(wire), step):
        dialogue.feed(wire[position : position + step])
        while (event := dialogue.next_event()) is not None:
            events.append(event)
            if isinstance(event, ContentPiece):
                continue
            answer = replies.OK
            if isinstance(event, Malformed):
                answer = event.reply
            elif event == Bare(Verb.DATA):
                answer = replies.START_CONTENT
            elif isinstance(event, ContentEnd | ChunkEnd) and event.fault is not None:
                answer = replies.reply(554, "5.6.0", "No")
            dialogue.answer(answer)
    return events


ENVELOPE = b"EHLO me\r\nMAIL FROM:<a@b.org>\r\nRCPT TO:<c@d.org>\r\n"


def ends_of(events: list[Event]) -> list[ContentEnd | ChunkEnd]:
    return [event for event in events if isinstance(event, ContentEnd | ChunkEnd)]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 10_000])
def test_no_false_end_of_data_lets_a_command_through(step: int) -> None:
    for end in ENDS:
        events = conversation(ENVELOPE + b"DATA\r\nbody" + end + INSIDE + b"\r\n.\r\nNOOP\r\n", step)
        assert [event for event in events if isinstance(event, Mail)] == [Mail("a@b.org")], end
        assert events[-1] == Bare(Verb.NOOP), end
        (last,) = ends_of(events)
        assert (last.fault is not None) == bool(BARE.search(end) or b"\0" in end), end


@pytest.mark.parametrize("step", [1, 4, 10_000])
def test_chunks_hide_no_command_and_keep_no_bare_line_end(step: int) -> None:
    for end in ENDS:
        body = b"body" + end + INSIDE
        for cut in (0, 4, 5, 6, 7, 8, len(body)):
            first, last = body[:cut], body[cut:]
            wire = b"BDAT %d\r\n%bBDAT %d LAST\r\n%bNOOP\r\n" % (len(first), first, len(last), last)
            events = conversation(ENVELOPE + wire, step)
            assert [event for event in events if isinstance(event, Mail)] == [Mail("a@b.org")], (end, cut)
            assert events[-1] == Bare(Verb.NOOP), (end, cut)
            faulty = any(each.fault is not None for each in ends_of(events))
            assert faulty == bool(BARE.search(end) or b"\0" in end), (end, cut)


def test_a_command_line_that_ends_otherwise_is_no_command() -> None:
    for end in {each for each in LINE_ENDS if not each.startswith(b"\r\n")}:
        events = conversation(b"EHLO me\r\nMAIL FROM:<evil@b.org>" + end + b"\r\nNOOP\r\n", 1)
        assert not [event for event in events if isinstance(event, Mail)], end
        assert events[-1] == Bare(Verb.NOOP), end


@pytest.mark.postgres
@pytest.mark.parametrize("chunked", [False, True])
async def test_over_a_socket_the_carrier_of_a_smuggled_message_is_refused_whole(
    start: Any, people: Any, chunked: bool
) -> None:
    service = await start(limits={"errors": 1000})
    sample = [end for end in ENDS[::9] if BARE.search(end) or b"\0" in end]
    async with await service.connect() as talk:
        await talk.play("S: 220 *\nC: EHLO c\nS: 250-*\n")
        for number, end in enumerate(sample):
            await talk.play("C: MAIL FROM:<e@f.net>\nS: 250 *\nC: RCPT TO:<ann@example.org>\nS: 250 *\n")
            before = b"Subject: a\r\n\r\nbody" + end
            if chunked:
                talk.send(b"BDAT %d LAST\r\n" % (len(before) + len(INSIDE)))
            else:
                await talk.play("C: DATA\nS: 354 *")
            cut = len(before) - number % (len(end) + 1)
            talk.send(before[:cut])
            await talk.writer.drain()
            talk.send(before[cut:] + INSIDE + (b"" if chunked else END))
            await talk.play("S: 554 5.6.0 *\nC: NOOP\nS: 250 *")
    assert len(sample) > 50
    assert await service.inbox(people[0]) == []
