"""The scanner: known trees, broken MIME, limits, section numbers, and offsets that rebuild every message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_format.part import Part
from posthorn_mail_format.scan import _MAX_SEARCHES, MAX_DEPTH, MAX_PARTS, _Scan, scan

# The example of RFC 3501 6.4.5 / RFC 9051 6.4.5, cut down to its shape.
NESTED = b"""Subject: outer
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: text/plain

one
--m
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAEC
--m
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/mixed; boundary=i

--i

three one
--i
Content-Type: application/octet-stream

three two
--i--
--m
Content-Type: multipart/mixed; boundary=f

--f
Content-Type: image/gif

gif
--f
Content-Type: message/rfc822

Subject: plain inside

four two
--f--

--m--
""".replace(b"\n", b"\r\n")


def text_of(data: bytes, section: str) -> bytes | None:
    span = scan(data).section(section)
    return None if span is None else data[span[0] : span[1]]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("", NESTED),
        ("HEADER", b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n"),
        ("1", b"one"),
        ("1.MIME", b"Content-Type: text/plain\r\n\r\n"),
        ("1.TEXT", None),
        ("1.HEADER", None),
        ("1.1", None),
        ("2", b"AAEC"),
        ("3.HEADER", b"Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"),
        ("3.MIME", b"Content-Type: message/rfc822\r\n\r\n"),
        ("3.1", b"three one"),
        ("3.2", b"three two"),
        ("3.2.MIME", b"Content-Type: application/octet-stream\r\n\r\n"),
        ("3.3", None),
        ("4.1", b"gif"),
        ("4.2.HEADER", b"Subject: plain inside\r\n\r\n"),
        ("4.2.TEXT", b"four two"),
        ("4.2.1", b"four two"),
        ("4.2.1.MIME", b"Subject: plain inside\r\n\r\n"),
        ("4.2.2", None),
        ("5", None),
        ("0", None),
        ("MIME", None),
        ("1.", None),
        ("x", None),
        ("text", NESTED[NESTED.index(b"\r\n\r\n") + 4 :]),
    ],
)
def test_sections_are_numbered_as_imap_does(section: str, expected: bytes | None) -> None:
    assert text_of(NESTED, section) == expected


def test_a_message_without_mime_has_part_one_only() -> None:
    data = b"Subject: x\r\n\r\nbody\r\n"
    assert text_of(data, "1") == b"body\r\n"
    assert text_of(data, "1.MIME") == b"Subject: x\r\n\r\n"
    assert text_of(data, "2") is None
    assert text_of(data, "1.1") is None


def test_fields_of_a_part() -> None:
    part = scan(
        b"Content-Type: Text/HTML; charset=ISO-8859-1; name*=utf-8''%e2%82%ac.html\r\n"
        b'Content-Transfer-Encoding: BASE64\r\nContent-Disposition: ATTACHMENT; filename="a b.html"\r\n'
        b"Content-ID: <one@example.org>\r\nContent-Description: a\r\n thing\r\nContent-Language: en, de\r\n"
        b"Content-Location: http://example.org/\r\nContent-MD5: Q2hlY2s=\r\n\r\nPGI+aGk8L2I+\r\n"
    )
    assert (part.media_type, part.charset, part.encoding) == ("text/html", "ISO-8859-1", "base64")
    assert part.params["name"] == "€.html"
    assert ("name*", "utf-8''%e2%82%ac.html") in part.raw_params
    assert (part.disposition, part.name, part.cid) == ("attachment", "a b.html", "one@example.org")
    assert (part.description, part.language) == ("a thing", ("en", "de"))
    assert (part.location, part.md5) == ("http://example.org/", "Q2hlY2s=")
    assert (part.size, part.decoded_size, part.lines) == (14, 9, 1)


def test_the_line_end_before_a_delimiter_is_no_content() -> None:
    data = (
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n\r\n--x \t\r\n\r\ntwo\n--x--\r\nepilogue"
    )
    assert [data[part.body_start : part.body_end] for part in scan(data).children] == [b"one\r\n", b"two"]


def test_a_line_that_only_begins_like_the_boundary_is_content() -> None:
    data = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--xy\r\n--x-\r\n--x--\r\n"
    assert [data[part.body_start : part.body_end] for part in scan(data).children] == [b"--xy\r\n--x-"]


def test_digest_parts_are_messages() -> None:
    data = b"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: inner\r\n\r\nhello\r\n--d--\r\n"
    (child,) = scan(data).children
    assert child.media_type == "message/rfc822"
    assert child.message is not None
    assert data[child.message.header_start : child.message.body_start] == b"Subject: inner\r\n\r\n"
    assert text_of(data, "1.TEXT") == b"hello"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "text/plain"),
        (b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nx\r\n--x--\r\n", "text/plain"),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnothing", "text/plain"),
        (b"Content-Type: nonsense\r\n\r\nx", "text/plain"),
        (b"Content-Type: text\r\n\r\nx", "text/plain"),
        (b"Content-Type: image/png/x\r\n\r\nx", "text/plain"),
        (b"Content-Type: \xff/\xfe\r\n\r\nx", "text/plain"),
    ],
)
def test_broken_types_are_plain_text(data: bytes, expected: str) -> None:
    part = scan(data)
    assert part.media_type == expected
    assert part.children == ()


def test_a_missing_empty_line_ends_the_header_where_fields_end() -> None:
    data = b"Subject: x\r\nthis is no field\r\n\r\nmore\r\n"
    part = scan(data)
    assert data[part.body_start :] == b"this is no field\r\n\r\nmore\r\n"


def test_depth_and_count_are_bounded() -> None:
    nested = scan(b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(200)))
    assert sum(1 for _ in nested.walk()) == MAX_DEPTH + 1
    assert [part.media_type for part in nested.walk()][-1] == "application/octet-stream"
    wide_data = b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\npart\n" * 3000
    wide = scan(wide_data)
    assert sum(1 for _ in wide.walk()) == MAX_PARTS
    # The last part holds all that is left.
    assert wide.children[-1].body_end == len(wide_data)


def test_each_octet_is_searched_a_bounded_number_of_times() -> None:
    def nested(levels: int) -> bytes:
        return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(levels))

    for data in (nested(50) + b"x" * 100_000, nested(50) + b"\n--" * 30_000, nested(8) + b"x" * 100_000):
        work = _Scan(data)
        found = work.run()
        assert work.searched <= (_MAX_SEARCHES + 1) * len(data)
        assert sum(1 for _ in found.walk()) == data.count(b"Content-Type") + 1
        check(data)
    # Three levels, each with an end: what is usual is nowhere near.
    work = _Scan(NESTED)
    work.run()
    assert work.searched < 4 * len(NESTED)


def test_stored_form_is_versioned_and_tolerates_more() -> None:
    part = scan(NESTED)
    assert Part.load(part.dump()) == part
    longer = part.dump().replace(b'{"v":1,', b'{"v":2,"later":[1],')
    assert Part.load(longer) == part
    for broken in (b"", b"{}", b"[]", b'{"part":3}', b"\xff"):
        with pytest.raises(ValueError, match=r".*"):
            Part.load(broken)


def check(data: bytes) -> None:
    """Offsets are in order and inside the parent; header, gaps and leaf bodies put together are the message."""
    root = scan(data)
    assert (root.header_start, root.body_end) == (0, len(data))
    rebuilt = data[: root.body_start] + body_of(data, root)
    assert rebuilt == data
    assert Part.load(root.dump()) == root
    for number, part in root.numbered():
        assert root.find(number) == part


def body_of(data: bytes, part: Part) -> bytes:
    assert part.header_start <= part.body_start <= part.body_end
    if part.message is not None:
        inner = part.message
        assert (inner.header_start, inner.body_end) == (part.body_start, part.body_end)
        return data[inner.header_start : inner.body_start] + body_of(data, inner)
    position, pieces = part.body_start, []
    for child in part.children:
        assert position <= child.header_start
        assert child.body_end <= part.body_end
        pieces.append(data[position : child.header_start])
        pieces.append(data[child.header_start : child.body_start] + body_of(data, child))
        position = child.body_end
    return b"".join(pieces) + data[position : part.body_end]


def test_own_samples_are_rebuilt_from_offsets(own_messages: tuple[bytes, ...]) -> None:
    for data in (*own_messages, NESTED):
        check(data)


def test_corpus_is_rebuilt_from_offsets(corpus_messages: list[tuple[str, bytes]]) -> None:
    for _, data in corpus_messages:
        check(data)


PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"--x",
        b"--y",
        b"--",
        b"\x00",
        b" ",
        b"a",
        b":",
        b"\xff",
        b"\r\n--x\r\n",
        b"\n--x--\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n",
        b"Content-Type: multipart/digest; boundary=y\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Transfer-Encoding: base64\n",
        b"Subject: s\r\n",
        b";",
        b'"',
    ]
)


@given(st.lists(PIECES, max_size=60).map(b"".join))
def test_any_bytes_are_a_message(data: bytes) -> None:
    check(data)


@given(st.binary(max_size=300), st.integers(0, len(NESTED)))
def test_a_torn_message_is_a_message(noise: bytes, cut: int) -> None:
    check(NESTED[:cut] + noise)
    check(noise + NESTED[cut:])
