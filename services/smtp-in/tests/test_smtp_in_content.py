"""Content reading: exact unstuffing, the one true end, and every way of smuggling a second message."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_smtp_in.protocol.content import ChunkReader, ContentLimits, DotReader, Fault

LIMITS = ContentLimits(size=1_000_000)


def read(data: bytes, cut: int | None = None, limits: ContentLimits = LIMITS) -> tuple[bytes, bytes, DotReader]:
    reader = DotReader(limits)
    content, rest = b"", b""
    step = cut or max(len(data), 1)
    for position in range(0, len(data), step):
        if reader.done:
            rest += data[position : position + step]
            continue
        piece, rest = reader.feed(data[position : position + step])
        content += piece
    return content, rest, reader


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        (b".\r\n", b""),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..a\r\n.\r\n", b".a\r\n"),
        (b"a\r\n..\r\n.\r\n", b"a\r\n.\r\n"),
        (b"a\r\n...b\r\n.\r\n", b"a\r\n..b\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"a.\r\n.\r\n", b"a.\r\n"),
        (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("cut", [1, 2, 3, 5, None])
def test_known_content_is_read_in_any_cut(wire: bytes, content: bytes, cut: int | None) -> None:
    found, rest, reader = read(wire + b"QUIT\r\n", cut)
    assert (found, rest, reader.done, reader.rules.fault) == (content, b"QUIT\r\n", True, None)
    assert reader.rules.size == len(content)


@pytest.mark.parametrize("dots", [0, 3, 4, 5, 1300, 1364, 1365, 1366, 1367, 1368, 1370, 4200])
@pytest.mark.parametrize("cut", [1, 100, None])
def test_stuffed_lines_and_the_end_are_found_behind_many_dots(dots: int, cut: int | None) -> None:
    before = (b"a.b" * 300 + b"\r\n") * (dots // 300) + b"a.b" * (dots % 300) + b"\r\n"
    found, rest, reader = read(before + b"..c\r\n.\r\n" + b"NOOP\r\n", cut)
    assert (found, rest, reader.rules.fault) == (before + b".c\r\n", b"NOOP\r\n", None)
    found, rest, reader = read(before + b".\r\n" + b"NOOP\r\n", cut)
    assert (found, rest, reader.rules.fault) == (before, b"NOOP\r\n", None)


SMUGGLED = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\n\r.\r\n",
]


@pytest.mark.parametrize("end", SMUGGLED)
@pytest.mark.parametrize("cut", [1, 2, 3, 4, None])
def test_no_other_end_of_data_is_one(end: bytes, cut: int | None) -> None:
    wire = b"Subject: a\r\n\r\nbody" + end + b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n"
    content, _, reader = read(wire, cut)
    assert not reader.done
    _, rest = reader.feed(b"x\r\n.\r\nNOOP\r\n")
    assert reader.done
    assert rest == b"NOOP\r\n"
    assert reader.rules.fault in (Fault.BARE_LINE_END, Fault.NUL)
    assert b"evil" not in content or (cut is not None and cut < 5)


@pytest.mark.parametrize(
    ("octets", "fault"), [(997, None), (998, None), (999, Fault.LONG_LINE), (5000, Fault.LONG_LINE)]
)
@pytest.mark.parametrize("cut", [1, 7, 999, 1000, None])
def test_line_limit_is_exact(octets: int, fault: Fault | None, cut: int | None) -> None:
    _, _, reader = read(b"short\r\n" * 3 + b"x" * octets + b"\r\nshort\r\n.\r\n", cut)
    assert reader.done
    assert reader.rules.fault is fault


def test_stuffed_dot_does_not_count_for_the_line_limit() -> None:
    _, _, reader = read(b"." + b"." * 998 + b"\r\n.\r\n")
    assert reader.rules.fault is None


def test_long_lines_may_be_allowed() -> None:
    content, _, reader = read(b"x" * 5000 + b"\r\n.\r\n", limits=ContentLimits(size=10_000, long_lines=True))
    assert reader.rules.fault is None
    assert len(content) == 5002


def test_size_is_counted_after_unstuffing() -> None:
    limits = ContentLimits(size=8)
    assert read(b"..234\r\n..\r\n.\r\n", limits=limits)[2].rules.fault is Fault.TOO_LARGE
    assert read(b"..23\r\n\r\n.\r\n", limits=limits)[2].rules.fault is None


def test_a_flood_is_told_before_its_end() -> None:
    reader = DotReader(ContentLimits(size=10))
    for _ in range(40):
        reader.feed(b"x" * 65536)
    assert reader.rules.fault is Fault.FLOOD
    assert not reader.done


def test_chunks_keep_a_line_end_across_their_border() -> None:
    reader = ChunkReader(LIMITS)
    content = reader.feed(b"a\r", last=False) + reader.feed(b"\n.\r\nb", last=True)
    assert content == b"a\r\n.\r\nb"
    assert reader.rules.fault is None


def test_a_last_chunk_may_not_end_with_a_bare_cr() -> None:
    reader = ChunkReader(LIMITS)
    reader.feed(b"a\r", last=True)
    assert reader.rules.fault is Fault.BARE_LINE_END


def expected_fault(content: bytes) -> bool:
    """Whether content breaks a rule, by plain regular expressions over the whole."""
    return bool(re.search(rb"\r(?!\n)|(?<!\r)\n|\x00|[^\n]{1000}", content))


LINES = st.lists(
    st.sampled_from([b"\r\n", b".", b"a", b"\r", b"\n", b"..", b"\0", b"bcd" * 200, b"\r\n."]), max_size=30
)


@given(LINES, st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_reading_is_the_inverse_of_stuffing(parts: list[bytes], cuts: list[int]) -> None:
    content = b"".join(parts) + b"\r\n"
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
    reader = DotReader(LIMITS)
    found, position, turn = b"", 0, 0
    while not reader.done:
        step = cuts[turn % len(cuts)]
        piece, rest = reader.feed(stuffed[position : position + step])
        found += piece
        position += step
        turn += 1
    assert position >= len(stuffed)
    assert rest == b""
    if expected_fault(content):
        assert reader.rules.fault is not None
    else:
        assert reader.rules.fault is None
        assert found == content
