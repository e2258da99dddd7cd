"""The canonical forms of RFC 6376: its own examples, then a slow and plain reading of its words beside the fast one."""

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_auth import canonical
from posthorn_mail_auth.canonical import BodyHash, Form, header_field
from posthorn_mail_auth.message import HeldBody


def plainly(body: bytes, form: Form) -> bytes:
    """RFC 6376 3.4.3 and 3.4.4, line by line."""
    lines = body.split(b"\r\n")
    if lines[-1] == b"":
        lines.pop()
    if form is Form.RELAXED:
        lines = [re.sub(rb"[ \t]+\Z", b"", re.sub(rb"[ \t]+", b" ", line)) for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"" if form is Form.RELAXED else b"\r\n"
    return b"".join(line + b"\r\n" for line in lines)


def hashed(body: bytes, form: Form, length: int | None = None) -> tuple[bytes, int]:
    found = BodyHash(HeldBody(memoryview(body)), form, length)
    return found.digest, found.size


def test_the_example_of_the_rfc() -> None:
    """RFC 6376 3.4.5."""
    fields = (b"A: X\r\n", b"B : Y\t\r\n\tZ  \r\n")
    body = b" C \r\nD \t E\r\n\r\n\r\n"
    assert [header_field(each, Form.RELAXED) for each in fields] == [b"a:X\r\n", b"b:Y Z\r\n"]
    assert [header_field(each, Form.SIMPLE) for each in fields] == list(fields)
    assert hashed(body, Form.RELAXED) == (hashlib.sha256(b" C\r\nD E\r\n").digest(), 9)
    assert hashed(body, Form.SIMPLE) == (hashlib.sha256(b" C \r\nD \t E\r\n").digest(), 12)


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n"])
def test_an_empty_body(body: bytes) -> None:
    """RFC 6376 3.4.3, 3.4.4: their hashes are given there."""
    simple = "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="
    relaxed = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    for form, known in ((Form.SIMPLE, simple), (Form.RELAXED, relaxed)):
        assert base64.b64encode(hashed(body, form)[0]).decode() == known


def test_the_first_octets_only() -> None:
    assert hashed(b"abc\r\ndef\r\n", Form.SIMPLE, 4) == (hashlib.sha256(b"abc\r").digest(), 10)
    assert hashed(b"abc\r\n", Form.RELAXED, 0) == (hashlib.sha256(b"").digest(), 5)
    assert hashed(b"abc\r\n", Form.RELAXED, 99) == (hashlib.sha256(b"abc\r\n").digest(), 5)


WORDS = st.lists(st.sampled_from([b"a", b"bc", b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"|", b"\0"]))


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
def test_pieces_give_what_lines_give(form: Form, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "PIECE", piece)

    @given(WORDS)
    def compare(words: list[bytes]) -> None:
        body = b"".join(words)
        known = plainly(body, form)
        assert hashed(body, form) == (hashlib.sha256(known).digest(), len(known))

    compare()
