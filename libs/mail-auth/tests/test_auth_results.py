"""Authentication-Results: what we write is one field whatever others put into it, and what others wrote for us goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_auth.message import split
from posthorn_mail_auth.results import MethodResult, authserv_id_of, strip, write


def test_results_are_written() -> None:
    """RFC 8601 2.2, appendix B."""
    methods = [
        MethodResult("spf", "pass", properties=(("smtp.mailfrom", "ann@example.org"),)),
        MethodResult(
            "dkim",
            "fail",
            reason='body "hash"',
            properties=(
                ("header.d", "example.org"),
                ("header.i", "@example.org"),
                ("header.b", "abc/+def"),
                ("x.y", ""),
            ),
            comment="2048 bits (rsa)",
        ),
    ]
    assert write("mx.example.net", methods).decode() == (
        "Authentication-Results: mx.example.net;\r\n"
        "\tspf=pass smtp.mailfrom=ann@example.org;\r\n"
        '\tdkim=fail (2048 bits ?rsa?) reason="body \\"hash\\"" header.d=example.org\r\n'
        "\theader.i=@example.org header.b=abc/+def\r\n"
    )
    assert write("mx.example.net", []) == b"Authentication-Results: mx.example.net; none\r\n"


@given(st.text(), st.text(), st.text())
def test_no_value_of_others_adds_anything(reason: str, value: str, comment: str) -> None:
    method = MethodResult("spf", "fail", reason, (("smtp.mailfrom", value), ("policy.x", "y")), comment)
    written = write("mx.test", [method])
    (field,) = split(written + b"\r\n").fields
    assert field.raw == written
    assert written.isascii()
    assert all(32 <= octet < 127 or octet in b"\t\r\n" for octet in written)
    assert authserv_id_of(field.value) == "mx.test"


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (b" mx.test; none", "mx.test"),
        (b" MX.Test 1; spf=pass", "mx.test"),
        (b" (a comment (in it)) mx.test (x) 1 ; none", "mx.test"),
        (b'\r\n "mx.test"; none', "mx.test"),
        (b" mx.test", "mx.test"),
        (b" ; none", None),
        (b" spf=pass smtp.mailfrom=a@b; x", None),
        (b"", None),
        (b" \xff;", "\ufffd"),
    ],
)
def test_whose_results(value: bytes, known: str | None) -> None:
    assert authserv_id_of(value) == known


def test_forged_fields_go_and_others_stay() -> None:
    """RFC 8601 5."""
    ours = b"Authentication-Results: mx.test; spf=pass\r\n"
    folded = b"AUTHENTICATION-RESULTS :\r\n\t(x) Mx.Test 1;\r\n\tdkim=pass\r\n"
    unreadable = b"Authentication-Results: a b c; spf=pass\r\n"
    theirs = b"Authentication-Results: other.test; spf=pass\r\n"
    head = b"Received: x\r\n" + ours + b"Subject:  y\r\n" + folded + theirs + unreadable + b"\r\n"
    assert strip(head, "MX.test") == b"Received: x\r\nSubject:  y\r\n" + theirs + b"\r\n"
    clean = b"Subject: authentication-results\r\n" + theirs + b"\r\n"
    assert strip(clean, "mx.test") is clean
    assert strip(ours, "mx.test") == b""
    many = b"A: b\r\n" * 20_000
    assert strip(many + ours, "mx.test") == many


@given(st.binary())
def test_stripping_takes_any_octets(head: bytes) -> None:
    stripped = strip(b"Authentication-Results: mx.test\r\nX: y\r\n" + head, "mx.test")
    assert stripped.startswith(b"X: y\r\n")
    assert strip(stripped, "mx.test") == stripped
