"""The summary of a message, its JMAP forms and views, base subjects and decoded text."""

from binascii import a2b_qp
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_format import jmap_view, listing, scan, summarize
from posthorn_mail_format.part import Part
from posthorn_mail_format.subject import base_subject
from posthorn_mail_format.summary import MAX_SEARCH_TEXT
from posthorn_mail_format.text import decode_bytes, decode_text, has_encoding_problem, html_to_text
from posthorn_model.mail import MessageSummary

MESSAGE = b"""Return-Path: <ann@example.org>
Date: Thu, 30 Oct 2014 14:12:00 +0800
From: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>
To: Team: ann@example.org, "Bob B." <bob@example.org>;, carl@example.org
Subject: Re: [list] =?utf-8?b?R3LDvMOfZQ==?=
Message-ID: <one@example.org>
In-Reply-To: <zero@example.org>
References: <first@example.org> <zero@example.org>
X-Unasked: yes
List-Post: <mailto:list@example.org>, <http://example.org/?a=b>
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/alternative; boundary=a

--a
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Sch=C3=B6ne   Gr=C3=BC=
=C3=9Fe
--a
Content-Type: text/html

<html><head><title>x</title></head><body><p>Sch&ouml;ne</p><p>Gr&uuml;&szlig;e</p></body></html>
--a--
--m
Content-Type: application/pdf; name=report.pdf
Content-Transfer-Encoding: base64

AAEC
--m--
""".replace(b"\n", b"\r\n")


def test_a_summary() -> None:
    summary = summarize(MESSAGE)
    assert summary.size == len(MESSAGE)
    assert summary.message_id == "one@example.org"
    assert summary.in_reply_to == ("zero@example.org",)
    assert summary.references == ("first@example.org", "zero@example.org")
    assert (summary.subject, summary.base_subject) == ("Re: [list] Grüße", "Grüße")
    assert summary.sent_at == datetime(2014, 10, 30, 6, 12, tzinfo=UTC)
    assert summary.preview == "Schöne Grüße"
    assert summary.has_attachment
    assert summary.search_text == "Schöne   Grüße\nSchöne\nGrüße"
    assert Part.load(summary.structure) == scan(MESSAGE)
    assert b"X-Unasked" not in summary.headers
    assert summary.headers.startswith(b"Return-Path: <ann@example.org>\r\nDate: ")
    assert summarize(MESSAGE.replace(b"\r\n", b"\n")).headers == summary.headers


def test_the_listing_in_jmap_form() -> None:
    listed = listing.load(summarize(MESSAGE).listing)
    ann, bob, carl = ("ann@example.org", "bob@example.org", "carl@example.org")
    assert listed["from"] == [{"name": "Jörg", "email": "joerg@example.org"}]
    assert listed["to"] == [
        {"name": None, "email": ann},
        {"name": "Bob B.", "email": bob},
        {"name": None, "email": carl},
    ]
    assert listed["sentAt"] == "2014-10-30T14:12:00+08:00"
    assert listed["messageId"] == ["one@example.org"]
    assert listed["cc"] is None
    assert set(listed) == set(listing.LISTED)
    with pytest.raises(ValueError, match="listing"):
        listing.load(b"[]")


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("asRaw", b" a\r\n b\xff", " a\r\n b\ufffd"),
        ("asText", b"  =?utf-8?q?e=CC=81?=\r\n x ", "é x"),
        ("asAddresses", b" a@b", [{"name": None, "email": "a@b"}]),
        (
            # RFC 8621 4.1.2.4
            "asGroupedAddresses",
            b' "  James Smythe" <james@example.com>, Friends: jane@example.com, "John" <john@example.com>;',
            [
                {"name": None, "addresses": [{"name": "James Smythe", "email": "james@example.com"}]},
                {
                    "name": "Friends",
                    "addresses": [
                        {"name": None, "email": "jane@example.com"},
                        {"name": "John", "email": "john@example.com"},
                    ],
                },
            ],
        ),
        ("asMessageIds", b" <a@b>\r\n <c@d>", ["a@b", "c@d"]),
        ("asMessageIds", b" a@b", ["a@b"]),
        ("asMessageIds", b" nothing", None),
        ("asDate", b" Thu, 30 Oct 2014 06:12:00 +0000", "2014-10-30T06:12:00Z"),
        ("asDate", b" soon", None),
        ("asURLs", b" <mailto:a@b> (comment), <http://c/>", ["mailto:a@b", "http://c/"]),
        ("asURLs", b" none", None),
    ],
)
def test_header_forms(form: str, value: bytes, expected: Any) -> None:
    assert listing.FORMS[form](value) == expected


# The tree of RFC 8621 4.1.4 whose lists that section spells out.
RFC8621 = b"""Content-Type: multipart/mixed; boundary=1

--1
Content-Type: text/plain

A
--1
Content-Type: multipart/mixed; boundary=2

--2
Content-Type: multipart/alternative; boundary=3

--3
Content-Type: multipart/mixed; boundary=4

--4
Content-Type: text/plain

B
--4
Content-Type: image/jpeg
Content-Disposition: inline

C
--4
Content-Type: text/plain

D
--4--
--3
Content-Type: multipart/related; boundary=5

--5
Content-Type: text/html

E
--5
Content-Type: image/jpeg

F
--5--
--3--
--2
Content-Type: image/jpeg
Content-Disposition: attachment

G
--2
Content-Type: application/x-excel

H
--2
Content-Type: message/rfc822

Subject: J

J
--2--
--1
Content-Type: text/plain

K
--1--
"""


def test_body_lists_of_the_rfc() -> None:
    body = jmap_view.read_body(scan(RFC8621))

    def letters(leaves: Any) -> str:
        return "".join(RFC8621[leaf.part.body_start : leaf.part.body_end].decode()[-1] for leaf in leaves)

    assert letters(body.text) == "ABCDK"
    assert letters(body.html) == "AEK"
    assert letters(body.attachments) == "CFGHJ"
    assert body.has_attachment
    assert [leaf.part_id for leaf in body.text] == ["1", "2.1.1.1", "2.1.1.2", "2.1.1.3", "3"]


def test_an_alternative_of_one_kind_stands_for_both() -> None:
    data = b"Content-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: text/html\n\nhi\n--a--\n"
    body = jmap_view.read_body(scan(data))
    assert body.text == body.html
    assert len(body.text) == 1


def test_the_structure_in_jmap_form() -> None:
    structure = jmap_view.body_structure(scan(MESSAGE))
    assert structure["partId"] is None
    assert structure["type"] == "multipart/mixed"
    alternative, report = structure["subParts"]
    assert [one["partId"] for one in alternative["subParts"]] == ["1.1", "1.2"]
    assert alternative["subParts"][1]["charset"] == "us-ascii"
    assert (report["partId"], report["name"], report["size"], report["charset"]) == ("2", "report.pdf", 3, None)
    single = jmap_view.body_structure(scan(b"Subject: x\n\nbody"))
    assert (single["partId"], single["charset"], single["size"]) == ("1", "us-ascii", 4)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Re: hello", "hello"),
        ("RE: Re:  fwd: hello  (fwd) (Fwd)", "hello"),
        ("[list] Re: [list] hello", "hello"),
        ("Re[2]: hello", "hello"),
        ("[Fwd: Re: hello]", "hello"),
        ("[only a blob]", "[only a blob]"),
        ("Fw: FW: a  b\tc", "a b c"),
        ("Regarding: hello", "Regarding: hello"),
        ("Re:", ""),
        ("", ""),
    ],
)
def test_base_subjects(subject: str, expected: str) -> None:
    assert base_subject(subject) == expected


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<p>one</p><p>two</p>", "one\ntwo"),
        ("a<br>b<BR/>c", "a\nb\nc"),
        ("<style>x{}</style><script>if (a<b) {}</script>text<!-- <p>no</p> -->", "text"),
        ("1 &lt; 2 &amp;&#x20AC;&nbsp;x", "1 < 2 &€ x"),
        ("<td>a</td><td>b</td>", "a b"),
        ("a < b", "a < b"),
        ("<script>never closed", ""),
        ("<b", ""),
        ("", ""),
    ],
)
def test_html_to_text(markup: str, expected: str) -> None:
    assert html_to_text(markup) == expected


@given(st.text("<>/!-&;#abps \"'\n", max_size=200))
def test_any_markup_is_read(markup: str) -> None:
    assert "\0" not in html_to_text(markup)


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [
        (b"Content-Transfer-Encoding: base64", b"aGVsbG8=", b"hello"),
        (b"Content-Transfer-Encoding: base64", b"aGVs\r\nbG8", b"hello"),
        (b"Content-Transfer-Encoding: base64", b"aGVsbG8=\r\n-- list footer", b"hello"),
        (b"Content-Transfer-Encoding: quoted-printable", b"a=3D=\r\nb=ZZ", b"a=b=ZZ"),
        (b"Content-Transfer-Encoding: x-uuencode", b"begin 644 x\r\n%:&5L;&\\\r\n`\r\nend\r\n", b"hello"),
        (b"Content-Transfer-Encoding: nonsense", b"aGVsbG8=", b"aGVsbG8="),
    ],
)
def test_transfer_encodings(header: bytes, body: bytes, expected: bytes) -> None:
    data = header + b"\r\n\r\n" + body
    assert decode_bytes(data, scan(data)) == expected
    assert decode_bytes(data, scan(data), 3) == expected[:3]


def test_charsets_of_bodies() -> None:
    data = b"Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B$3\x1b(B\r\nx"
    assert decode_text(data, scan(data)) == "こ\nx"


@pytest.mark.parametrize(
    ("fields", "body", "problem"),
    [
        (b"Content-Type: text/plain; charset=utf-8", b"\xc3\xa9", False),
        (b"Content-Type: text/plain; charset=utf-8", b"\xe9", True),
        (b"Content-Type: text/plain; charset=nonsense", b"a", True),
        (b"Content-Type: text/plain", b"\xc3\xa9", True),
        (b"Content-Type: image/png", b"\xe9", False),
        (b"Content-Type: image/png\nContent-Transfer-Encoding: nonsense", b"a", True),
    ],
)
def test_encoding_problems(fields: bytes, body: bytes, problem: bool) -> None:
    data = fields + b"\n\n" + body
    assert has_encoding_problem(data, scan(data)) is problem


def storable(summary: MessageSummary) -> None:
    texts = [summary.subject, summary.base_subject, summary.preview, summary.search_text, summary.message_id or ""]
    for text in (*texts, *summary.references, *summary.in_reply_to):
        assert "\0" not in text
        text.encode()
    assert len(summary.preview) <= 256
    assert len(summary.search_text) <= MAX_SEARCH_TEXT
    assert set(listing.load(summary.listing)) == set(listing.LISTED)


def test_own_samples_have_summaries(own_messages: tuple[bytes, ...]) -> None:
    for data in own_messages:
        storable(summarize(data))


def test_corpus_has_summaries(corpus_messages: list[tuple[str, bytes]]) -> None:
    for _, data in corpus_messages:
        storable(summarize(data))


def test_the_corpus_agrees_with_the_standard_library_on_subjects(corpus_messages: list[tuple[str, bytes]]) -> None:
    compared = 0
    for name, data in corpus_messages:
        values = message_from_bytes(data).get_all("subject", [])
        if len(values) != 1 or not str(values[0]).isascii() or "utf-7" in str(values[0]).lower():
            continue
        value = values[0]
        try:
            expected = str(make_header(decode_header(str(value))))
        except (LookupError, ValueError):
            continue
        if "\ufffd" in expected:
            continue
        assert "".join(summarize(data).subject.split()) == "".join(expected.split()), name
        compared += 1
    assert compared > 250


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Transfer-Encoding: uuencode\n\n" + b"begin 644 " * 400_000,
        b"Content-Type: text/html\n\n" + b"<svg>" * 100_000,
        b"Content-Type: text/html\n\n" + b"<!--" * 100_000,
        b"To: " + b"(" * 200_000 + b"\n\n",
        b"To: <" + b"@a," * 80_000 + b"\n\n",
        b"Content-Type: a/b" + b";" * 500_000 + b"\n\n",
        b"a" * 4_000_000,
    ],
    ids=lambda data: repr(data[30:50]),
)
def test_hostile_bytes_take_no_more_than_their_length(data: bytes) -> None:
    # Quadratic reading of any of these takes minutes and runs into the test's time limit.
    storable(summarize(data))


@given(st.binary(max_size=300))
def test_any_bytes_have_a_summary(data: bytes) -> None:
    storable(summarize(data))


@pytest.mark.parametrize("line", [b"caf=C3=A9 =\r\n", b"=\n", b"a" * 3_000_000 + b"\n", b"=3D" * 1_000_000])
def test_long_quoted_printable_is_decoded_in_pieces(line: bytes) -> None:
    body = line * (3_000_000 // len(line) + 1)
    data = b"Content-Transfer-Encoding: quoted-printable\n\n" + body
    part = scan(data)
    assert decode_bytes(data, part) == a2b_qp(body)
    assert part.decoded_size == len(a2b_qp(body))


def test_a_preview_comes_from_the_first_text_whatever_stands_before_it() -> None:
    long_one = b"Content-Type: text/x-log\n\n" + b"x" * (MAX_SEARCH_TEXT - 2)
    for first, preview in ((long_one, "seen"), (long_one + b"yyyy", "seen")):
        data = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + first + b"\n--b\n\nseen\n--b--\n"
        assert summarize(data).preview == preview


@given(st.text(alphabet="\r\n.x", max_size=40))
def test_only_the_cr_of_a_crlf_goes(body: str) -> None:
    data = b"Subject: a\r\n\r\n" + body.encode()
    assert decode_text(data, scan(data)) == body.replace("\r\n", "\n")


@given(st.lists(st.sampled_from(["a", "word", " ", "\n", " " * 1500, "b" * 1500, "\u2003"]), max_size=600))
def test_a_preview_is_the_first_words_however_far_apart(pieces: list[str]) -> None:
    text = "".join(pieces)
    data = b"Content-Type: text/plain; charset=utf-8\n\n" + text.encode()
    assert summarize(data).preview == " ".join(text.split())[:256].rstrip()
