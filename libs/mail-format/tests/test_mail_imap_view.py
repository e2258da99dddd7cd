"""ENVELOPE, BODY and BODYSTRUCTURE: known answers, NIL rules, and balance over every message there is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_format import imap_view
from posthorn_mail_format.headers import by_name, iterate
from posthorn_mail_format.scan import scan

# The example of RFC 3501 8 (the envelope) and 7.4.2.
RFC3501 = b"""Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
From: Terry Gray <gray@cac.washington.edu>
Subject: IMAP4rev1 WG mtg summary and minutes
To: imap@cac.washington.edu
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
Message-Id: <B27397-0100000@cac.washington.edu>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

hello
""".replace(b"\n", b"\r\n")


def envelope(header: bytes) -> bytes:
    return imap_view.envelope(by_name(iterate(header)))


def read_values(data: bytes) -> list[object]:
    """Read IMAP values (lists, strings, literals, atoms) to their end; fails on anything unbalanced."""
    token = re.compile(rb'\(|\)|"((?:[^"\\\r\n\x80-\xff\0]|\\["\\])*)"|\{(\d+)\}\r\n|(NIL|\d+)|( )')
    stack: list[list[object]] = [[]]
    position = 0
    while position < len(data):
        match = token.match(data, position)
        assert match is not None, data[position : position + 80]
        position = match.end()
        if match[0] == b"(":
            stack.append([])
        elif match[0] == b")":
            done = stack.pop()
            stack[-1].append(done)
        elif match[1] is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", match[1]))
        elif match[2] is not None:
            stack[-1].append(data[position : position + int(match[2])])
            position += int(match[2])
        elif match[3] is not None:
            stack[-1].append(None if match[3] == b"NIL" else int(match[3]))
    assert len(stack) == 1
    return stack[0]


def test_many_addresses_make_no_endless_envelope() -> None:
    for header in (
        b"To: a@b\r\n" * 9_000,
        b"To: " + b"a:;" * 50_000,
        b"To: a:b@c;\r\n" * 9_000,
        b"To: " + b"a@b," * 60_000,
    ):
        (items,) = read_values(envelope(header))
        assert isinstance(items, list)
        assert 5_000 <= len(items[5]) <= 10_002


def test_the_envelope_of_the_rfc() -> None:
    gray = b'(("Terry Gray" NIL "gray" "cac.washington.edu"))'
    assert envelope(RFC3501) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" '
        + b" ".join((gray, gray, gray))
        + b' ((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
        b'"<B27397-0100000@cac.washington.edu>")'
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
        # of fields that may stand once, the last
        (b"Subject: a\r\nsubject: b\r\n", b'(NIL "b" NIL NIL NIL NIL NIL NIL NIL NIL)'),
        # present but empty is "", for text fields only
        (b"Date:\r\nSubject: \r\nTo:\r\nMessage-ID:\r\n", b'("" "" NIL NIL NIL NIL NIL NIL NIL "")'),
        (
            b"From: a@b\r\nSender: \r\nReply-To: c@d\r\n",
            b'(NIL NIL ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) ((NIL NIL "c" "d")) NIL NIL NIL NIL NIL)',
        ),
        (
            b'To: G: a@b, "C \\"D\\"" <c@d>;, e@f\r\nCc: nobody:;\r\n',
            b'(NIL NIL NIL NIL NIL ((NIL NIL "G" NIL)(NIL NIL "a" "b")("C \\"D\\"" NIL "c" "d")(NIL NIL NIL NIL)'
            b'(NIL NIL "e" "f")) ((NIL NIL "nobody" NIL)(NIL NIL NIL NIL)) NIL NIL NIL)',
        ),
        (b"To: <@x.test:a@b>\r\n", b'(NIL NIL NIL NIL NIL ((NIL "@x.test" "a" "b")) NIL NIL NIL NIL)'),
        # no host is "", never NIL: NIL would be a group
        (b"To: root\r\n", b'(NIL NIL NIL NIL NIL ((NIL NIL "root" "")) NIL NIL NIL NIL)'),
        (
            b"Subject: =?utf-8?q?x?=\r\n =?utf-8?q?y?=\r\n",
            b'(NIL "=?utf-8?q?x?= =?utf-8?q?y?=" ' + b"NIL " * 7 + b"NIL)",
        ),
        (b"Subject: \xc3\xa9\r\n", b"(NIL {2}\r\n\xc3\xa9 " + b"NIL " * 7 + b"NIL)"),
    ],
)
def test_envelope_rules(header: bytes, expected: bytes) -> None:
    assert envelope(header) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b"NIL"),
        (b"", b'""'),
        (b'a "b" \\', b'"a \\"b\\" \\\\"'),
        (b"a\rb", b"{3}\r\na\rb"),
        (b"a\0b", b'"a b"'),
        (b"\xff", b"{1}\r\n\xff"),
    ],
)
def test_strings(value: bytes | None, expected: bytes) -> None:
    assert imap_view.imap_string(value) == expected


def test_a_simple_body() -> None:
    part = scan(RFC3501)
    basic = b'("text" "plain" ("charset" "US-ASCII") NIL NIL "7bit" 7 1'
    assert imap_view.body(RFC3501, part) == basic + b")"
    assert imap_view.body_structure(RFC3501, part) == basic + b" NIL NIL NIL NIL)"


def test_a_nested_body() -> None:
    inner = b"Subject: in\r\nFrom: a@b\r\n\r\nhi\r\n"
    data = (
        b"Content-Type: multipart/mixed; boundary=x\r\nContent-Language: en, de\r\n\r\n--x\r\n"
        b"Content-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <i>\r\n"
        b"Content-Disposition: inline; filename=a.png\r\nContent-Location: here\r\nContent-MD5: abc\r\n\r\nAAEC\r\n"
        b"--x\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--x--\r\n"
    )
    address = b'((NIL NIL "a" "b"))'
    inner_envelope = b'(NIL "in" ' + b" ".join((address,) * 3) + b" NIL NIL NIL NIL NIL)"
    assert imap_view.body_structure(data, scan(data)) == (
        b'(("image" "png" ("name" "a.png") "<i>" NIL "base64" 4 "abc" ("inline" ("filename" "a.png")) NIL "here")'
        b'("message" "rfc822" NIL NIL NIL "7bit" 30 '
        + inner_envelope
        + b' ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 1 NIL NIL NIL NIL) 4 NIL NIL NIL NIL)'
        b' "mixed" ("boundary" "x") NIL ("en" "de") NIL)'
    )
    assert imap_view.body(data, scan(data)) == (
        b'(("image" "png" ("name" "a.png") "<i>" NIL "base64" 4)("message" "rfc822" NIL NIL NIL "7bit" 30 '
        + inner_envelope
        + b' ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 1) 4) "mixed")'
    )


def check(data: bytes) -> None:
    part = scan(data)
    (found,) = read_values(envelope(data[part.header_start : part.body_start]))
    assert isinstance(found, list)
    assert len(found) == 10
    for view in (imap_view.body(data, part), imap_view.body_structure(data, part)):
        (structure,) = read_values(view)
        check_structure(structure)


def check_structure(structure: object) -> None:
    """A body is a multipart (bodies, then its subtype) or a leaf with at least seven items (RFC 9051 9, body)."""
    assert isinstance(structure, list)
    if isinstance(structure[0], list):
        children = [item for item in structure if isinstance(item, list)]
        subtype = next(index for index, item in enumerate(structure) if not isinstance(item, list))
        assert isinstance(structure[subtype], bytes)
        for child in children[:subtype]:
            check_structure(child)
        return
    kind, subtype_name = structure[0], structure[1]
    assert isinstance(kind, bytes)
    assert isinstance(subtype_name, bytes)
    assert kind != b"multipart"
    assert isinstance(structure[6], int)
    if kind == b"text":
        assert isinstance(structure[7], int)
    if (kind, subtype_name) in ((b"message", b"rfc822"), (b"message", b"global")):
        assert isinstance(structure[7], list)
        assert len(structure[7]) == 10
        check_structure(structure[8])
        assert isinstance(structure[9], int)


def test_envelopes_of_messages_inside_are_bounded() -> None:
    data = (b"Content-Type: message/rfc822\r\nTo: " + b"a@b," * 5000 + b"\r\n\r\n") * 40
    part = scan(data)
    view, extended = imap_view.body_views(data, part)
    assert view == imap_view.body(data, part)
    assert extended == imap_view.body_structure(data, part)
    check_structure(read_values(view)[0])
    assert view.count(b'"a" "b"') <= imap_view.MAX_NESTED_HEADERS // 4


def test_own_samples_are_balanced(own_messages: tuple[bytes, ...]) -> None:
    for data in own_messages:
        check(data)


def test_corpus_is_balanced(corpus_messages: list[tuple[str, bytes]]) -> None:
    for _, data in corpus_messages:
        check(data)


@given(st.binary(max_size=80), st.sampled_from([b"To: ", b"Subject: ", b"Content-Type: a/b; ", b"Content-ID: ", b""]))
def test_any_bytes_are_balanced(noise: bytes, name: bytes) -> None:
    check(name + noise + b"\r\n\r\nx")
