"""Input made to cost more than its length: the steps of the interpreter are counted, not the time.

What regular expressions cost inside is not counted here; test_mail_patterns.py looks at their structure instead.
"""

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from posthorn_mail_format import scan, summarize
from posthorn_mail_format.attachments import attachments
from posthorn_mail_format.listing import FORMS
from posthorn_mail_format.scan import MAX_PARTS

N = 6_000
TO, SUBJECT, TYPE = b"To: ", b"Subject: ", b"Content-Type: text/plain; "
HTML, MIXED = b"Content-Type: text/html\n\n", b"Content-Type: multipart/mixed; boundary=x\n\n"


def coded(name: bytes) -> bytes:
    return b"Content-Transfer-Encoding: " + name + b"\n\n"


# What stands before, what is repeated to a length, what stands after.
HOSTILE: dict[str, tuple[bytes, bytes, bytes]] = {
    "CR in a folded field": (SUBJECT, b"\r", b"x\r\n y\n\n"),
    "CR before a fold": (SUBJECT + b"a\n ", b"\r", b"\n\n"),
    "CR in a description": (b"Content-Description: a\n ", b"\r", b"x\n\n"),
    "id without at": (b"Message-ID: ", b"a", b"\n\n"),
    "ids of at": (b"References: ", b"a@", b"\n\n"),
    "brackets of ids": (b"References: ", b"<", b"\n\n"),
    "ids": (b"References: ", b"<a@b>", b"\n\n"),
    # Each of these colons once looked through the 400 words before it.
    "colons after an address": (TO + b"a " * 398 + b"@", b":", b"\n\n"),
    "groups": (TO, b"a:;", b"\n\n"),
    "routes": (TO + b"<", b"@a,", b"\n\n"),
    "open comments": (TO, b"(", b"\n\n"),
    "comments in each other": (TO, b"(a", b")" * N + b"\n\n"),
    "empty comments": (TO, b"()", b"\n\n"),
    "quotes": (TO, b'"', b"\n\n"),
    "quoted pairs": (TO, b'"\\', b"\n\n"),
    "words without an address": (TO, b"a ", b"\n\n"),
    "addresses with a comment at last": (TO, b"a@b, ", b"(\n\n"),
    "open encoded words": (SUBJECT, b"=?", b"\n\n"),
    "half encoded words": (SUBJECT, b"=?a?q?", b"\n\n"),
    "encoded words": (SUBJECT, b"=?utf-8?q?x?= ", b"\n\n"),
    "one long encoded word": (SUBJECT + b"=?utf-8?q?", b" x", b"\n\n"),
    "replies": (SUBJECT, b"re: ", b"\n\n"),
    "blobs": (SUBJECT, b"[a]", b"\n\n"),
    "forwards": (SUBJECT + b"a", b"(fwd)", b"\n\n"),
    "combining marks": (SUBJECT + b"a", "\u0301\u0316".encode(), b"\n\n"),
    "spaces": (SUBJECT, b" ", b"x\n\n"),
    "date of spaces": (b"Date: ", b" ", b"x\n\n"),
    "names without values": (TYPE, b"a;", b"\n\n"),
    "open values": (TYPE, b'a="', b"\n\n"),
    "pieces of a value": (TYPE, b"a*1*=%e2;", b"\n\n"),
    "languages": (b"Content-Language: ", b"a,", b"\n\n"),
    "fields": (b"", b"a:\n", b""),
    "fields of content": (b"", b"Content-a:b\n", b""),
    "folds": (b"a: b\n", b" \n", b""),
    "lines like a boundary": (MIXED, b"\n--x y", b""),
    "parts": (MIXED, b"\n--x\n\na", b""),
    "spaces after a boundary": (MIXED + b"\n--x", b" ", b"y"),
    "messages in each other": (b"", b"Content-Type: message/rfc822\n\n", b""),
    "open tags": (HTML, b"<", b""),
    "tags without an end": (HTML, b"<a ", b""),
    "ampersands": (HTML, b"&a", b""),
    "open scripts": (HTML, b"<script>", b""),
    "open hidden elements": (HTML, b"<svg><math><title>", b""),
    "almost closed elements": (HTML, b"<svg></svg", b""),
    "comments": (HTML, b"<!---->", b""),
    "padding": (coded(b"base64"), b"=", b""),
    "long base64": (coded(b"base64") + b"a", b"aaaa", b"=-"),
    "beginnings of uuencode": (coded(b"uuencode"), b"begin 644 ", b""),
    "lines of uuencode": (coded(b"uuencode") + b"begin 644 x\n", b"M\n", b""),
    "escapes": (coded(b"quoted-printable"), b"=", b""),
    "escape sequences": (b"Content-Type: text/plain; charset=iso-2022-jp\n\n", b"\x1b", b""),
}


def steps(work: Callable[[], object]) -> int:
    """Calls, C calls and resumed generators while `work` runs."""
    count = 0

    def seen(_frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def read_all(data: bytes) -> None:
    summary = summarize(data)
    for form in FORMS.values():
        form(data[:300_000])
    for _ in attachments(data, scan(data)):
        pass
    assert len(summary.search_text) <= 131_072


@pytest.mark.parametrize("name", HOSTILE)
def test_steps_grow_no_faster_than_the_input(name: str) -> None:
    before, again, after = HOSTILE[name]

    def data(size: int) -> bytes:
        return before + again * (size // len(again)) + after

    small, large = (steps(lambda size=size: read_all(data(size))) for size in (N, 4 * N))
    # Four times the input: a little above four times the steps for what is paid once.
    assert large <= 4.5 * small + 1000


@pytest.mark.parametrize("name", HOSTILE)
def test_large_hostile_input_is_read_to_its_end(name: str) -> None:
    before, again, after = HOSTILE[name]
    data = before + again * (1_000_000 // len(again)) + after
    # Quadratic work on this takes minutes and runs into the time limit of the test.
    read_all(data)
    assert sum(1 for _ in scan(data).walk()) <= MAX_PARTS
