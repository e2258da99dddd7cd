"""Header fields, subsets, RFC 2047 words, RFC 2231 parameters, charsets and dates."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_format.charsets import codec_name, decode
from posthorn_mail_format.dates import format_date, parse_date
from posthorn_mail_format.encoded_words import decode_words, encode_words
from posthorn_mail_format.headers import (
    decode_text,
    fields_subset,
    find,
    find_all,
    header_end,
    iterate,
    subset_of_kept,
    unfold,
)
from posthorn_mail_format.parameters import decode_parameters, parse_value

HEADER = b"From: a@b\r\nSubject: one\r\n two\r\nX-Odd : x\r\nsubject: three\r\n\r\n"


def test_fields_keep_their_bytes_and_offsets() -> None:
    fields = list(iterate(HEADER))
    assert [field.name for field in fields] == [b"From", b"Subject", b"X-Odd", b"subject"]
    assert b"".join(HEADER[field.start : field.end] for field in fields) + b"\r\n" == HEADER
    assert find(fields, "SUBJECT") == b" one\r\n two"
    assert unfold(b" one\r\n two") == b"one two"
    assert find_all(fields, "subject") == [b" one\r\n two", b" three"]
    assert find(fields, "to") is None


def test_a_leading_mbox_line_is_no_field() -> None:
    data = b"From ann@example.org Mon Jan  1 00:00:00 2024\nSubject: x\n\nbody"
    assert [field.name for field in iterate(data)] == [b"Subject"]
    assert data[header_end(data, 0, len(data)) :] == b"body"


@pytest.mark.parametrize(
    ("names", "invert", "expected"),
    [
        (["SUBJECT"], False, b"Subject: one\r\n two\r\nsubject: three\r\n\r\n"),
        (["subject", "x-odd"], True, b"From: a@b\r\n\r\n"),
        (["to"], False, b"\r\n"),
        ([], True, HEADER),
    ],
)
def test_subsets_of_fields(names: list[str], invert: bool, expected: bytes) -> None:
    assert fields_subset(HEADER, names, invert) == expected
    # Whatever the message's line ends are, the answer's are CRLF.
    assert fields_subset(HEADER.replace(b"\r\n", b"\n"), names, invert) == expected


_NAMES = st.sampled_from(["from", "SUBJECT", "Subject", "to", "x.odd", "xyodd"])
_VALUES = st.text(alphabet=" \tab:\r", max_size=8)
_FIELDS = st.tuples(_NAMES, st.sampled_from(["", " "]), st.lists(_VALUES, min_size=1, max_size=3))


@given(st.lists(_FIELDS, max_size=6), st.lists(_NAMES, min_size=1, max_size=3))
def test_fields_are_chosen_from_whole_ones_as_from_any_header(
    fields: list[tuple[str, str, list[str]]], names: list[str]
) -> None:
    kept = "".join(f"{name}{space}:" + "\r\n ".join(values) + "\r\n" for name, space, values in fields).encode()
    assert subset_of_kept([name.encode() for name in names])(kept) == fields_subset(kept, names)


@given(st.binary(max_size=200))
def test_every_header_is_split_without_loss(data: bytes) -> None:
    end = header_end(data, 0, len(data))
    fields = list(iterate(data, 0, end))
    start = fields[0].start if fields else 0
    assert b"".join(data[field.start : field.end] for field in fields) == data[start : fields[-1].end if fields else 0]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # RFC 2047 8
        ("=?ISO-8859-1?Q?a?=", "a"),
        ("=?ISO-8859-1?Q?a?= b", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a?=\t   =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a_b?=", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        # RFC 2231 5
        ("=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"),
        # a character split over two words
        ("=?utf-8?B?4oI=?= =?utf-8?B?rA==?=", "€"),
        ("=?utf-8?b?4oKs", "=?utf-8?b?4oKs"),
        ("=?utf-8?b?4oKs?=", "€"),
        ("=?utf-8?b?4oKsQ?=", "€"),
        ("=?no-such?q?x?= y", "=?no-such?q?x?= y"),
        ("=?rot13?q?uryyb?=", "=?rot13?q?uryyb?="),
        ("=?gb2312?B?xOO6ww==?=", "你好"),
        ("=?iso-2022-jp?B?GyRCJDMbKEI=?=", "こ"),
        ("=?utf-8?q?=zz=C3=A9?=", "=zzé"),
        ("plain", "plain"),
    ],
)
def test_encoded_words(raw: str, expected: str) -> None:
    assert decode_words(raw) == expected


@given(st.text(max_size=200).filter(lambda text: "\0" not in text))
def test_encoded_words_are_read_back(text: str) -> None:
    words = encode_words(text)
    assert all(len(word) <= 75 for word in words)
    assert decode_words(" ".join(words)) == text


def test_eight_bit_values_are_read() -> None:
    assert decode_text(b" caf\xc3\xa9") == "café"
    assert decode_text(b" caf\xe9") == "café"
    assert decode_text(b" \x93x\x94 \0") == "“x” \ufffd".strip()


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "unicode_escape", "base64", "zlib", "hex", "os.path", "x" * 99, "a\0", "utf-7"]
)
def test_encodings_that_are_no_charsets_are_refused(charset: str) -> None:
    assert codec_name(charset) is None


@given(
    st.binary(max_size=60),
    st.sampled_from(["utf-7", "utf-16", "utf-8", "shift_jis", "hz", "iso-2022-kr", "big5", "nope"]),
)
def test_decoding_never_fails_and_is_storable(data: bytes, charset: str) -> None:
    text = decode(data, charset)
    assert "\0" not in text
    text.encode()


@pytest.mark.parametrize(
    ("raw", "value", "params"),
    [
        ("text/plain; charset=us-ascii (Plain text)", "text/plain", {"charset": "us-ascii"}),
        ('text/plain; charset="us-ascii"', "text/plain", {"charset": "us-ascii"}),
        ("Text/Plain;charset=A;CHARSET=b", "text/plain", {"charset": "A"}),
        ('a/b; name="x;y\\"z"; q=1', "a/b", {"name": 'x;y"z', "q": "1"}),
        ("a/b; name=a file.pdf", "a/b", {"name": "a file.pdf"}),
        ('a/b; name="open', "a/b", {"name": "open"}),
        ("a/b;;; ; x=1;", "a/b", {"x": "1"}),
        # RFC 2231 3 and 4.1
        (
            'message/external-body; access-type=URL; URL*0="ftp://"; URL*1="cs.utk.edu/pub/moore/x.tar"',
            "message/external-body",
            {"access-type": "URL", "url": "ftp://cs.utk.edu/pub/moore/x.tar"},
        ),
        (
            "application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20;"
            ' title*2="isn\'t it!"',
            "application/x-stuff",
            {"title": "This is even more ***fun*** isn't it!"},
        ),
        ("attachment; filename=old; filename*=utf-8''n%C3%A9w", "attachment", {"filename": "néw"}),
        # out of order; a character cut between two segments; a gap ends the value
        ("a/b; n*1*=%82%ac; n*0*=utf-8''%e2; n*3=x", "a/b", {"n": "€"}),
        # a charset in each segment, the same or another one; quotes that name none
        ("a/b; n*0*=utf-8''%e2%82; n*1*=UTF-8''%ac", "a/b", {"n": "€"}),
        ("a/b; n*0*=utf-8''%c3%a9; n*1*=iso-8859-1'fr'%e9", "a/b", {"n": "éé"}),
        ("a/b; n*0*=utf-8''a; n*1*=it's%20o'clock", "a/b", {"n": "ait's o'clock"}),
        # an unknown charset, none at all, no quotes, broken escapes, the same segment twice, a number too long
        ("a/b; n*=no-such''%e9%41", "a/b", {"n": "éA"}),
        ("a/b; n*=''%c3%a9", "a/b", {"n": "é"}),
        ("a/b; n*=%c3%a9", "a/b", {"n": "é"}),
        ("a/b; n*=utf-8''%zz%4", "a/b", {"n": "%zz%4"}),
        ("a/b; n*0=a; n*0=b; n*1=c", "a/b", {"n": "ac"}),
        ("a/b; n*00000=a", "a/b", {"n*00000": "a"}),
        # segments that begin at 1, as some count
        ("a/b; n*1=a; n*2=b", "a/b", {"n": "ab"}),
        ('attachment; filename="=?utf-8?Q?n=C3=A9w?="', "attachment", {"filename": "néw"}),
    ],
)
def test_parameters(raw: str, value: str, params: dict[str, str]) -> None:
    found, raw_params = parse_value(raw)
    assert found == value
    assert decode_parameters(raw_params) == params


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fri, 21 Nov 1997 09:55:06 -0600", datetime(1997, 11, 21, 15, 55, 6, tzinfo=UTC)),
        (
            "Thu,\r\n 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)",
            datetime(1969, 2, 14, 3, 2, tzinfo=UTC),
        ),
        ("21 Nov 97 09:55:06 GMT", datetime(1997, 11, 21, 9, 55, 6, tzinfo=UTC)),
        ("Tue, 1 Jul 2003 10:52:37 PDT", datetime(2003, 7, 1, 17, 52, 37, tzinfo=UTC)),
        ("1 jan 20 00:00:60 Z", datetime(2020, 1, 1, 0, 0, 59, tzinfo=UTC)),
        ("Tue Nov 24 02:33:06 2026", datetime(2026, 11, 24, 2, 33, 6, tzinfo=UTC)),
        ("", None),
        ("yesterday", None),
        ("32 Jan 2020 00:00:00 +0000", None),
        ("1 Jan 2020 25:00:00 +0000", None),
        ("1 Jan 0000 00:00:00 +0000", None),
    ],
)
def test_dates(text: str, expected: datetime | None) -> None:
    assert parse_date(text) == expected
    assert parse_date(text.encode()) == expected


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)),
    st.integers(-1439, 1439),
)
def test_dates_written_are_read_back(moment: datetime, minutes: int) -> None:
    aware = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    written = format_date(aware)
    assert parse_date(written) == aware
    assert parsedate_to_datetime(written) == aware
    assert parse_date(format_datetime(aware)) == aware


@given(st.text(max_size=60))
def test_any_text_is_a_date_or_none(text: str) -> None:
    assert parse_date(text) is None or parse_date(text).tzinfo is not None  # type: ignore[union-attr]
