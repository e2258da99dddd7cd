"""Conversations about parts without their transfer encoding (RFC 3516)."""

import base64
import quopri
from typing import Any

import pytest

pytestmark = pytest.mark.postgres

LOGIN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK [CAPABILITY ... BINARY ...
"""
OCTETS = bytes(range(32, 120)) * 3
TEXT = "grüße\n"
LETTER = (
    b"Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(OCTETS).replace(b"\n", b"\r\n")
    + b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    + quopri.encodestring(TEXT.encode()).replace(b"\n", b"\r\n")
    + b"\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEA\r\n"
    b"--b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: x-unknown\r\n\r\nabc\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner\r\n--b--\r\n"
)


def append(tag: str, octets: bytes, *, mark: str = "") -> str:
    """An APPEND with a non-synchronizing literal; `mark` makes it a literal8."""
    escaped = octets.decode("latin-1").encode("unicode_escape").decode()
    return f"C\\: {tag} APPEND INBOX {mark}{{{len(octets)}+}}\\r\\n{escaped}\\r\\n\n"


async def test_parts_come_decoded(imap: Any) -> None:
    conversation = await imap.play(
        LOGIN
        + append("a", LETTER)
        + r"""
        S: a OK ...
        C: s SELECT INBOX
        S*: s OK ...
        C: 1 FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[2] BINARY.SIZE[3] BINARY.SIZE[5] BINARY.SIZE[9] BINARY.SIZE[])
        S: * 1 FETCH (BINARY.SIZE[1] 264 BINARY.SIZE[2] {text} BINARY.SIZE[3] 3 BINARY.SIZE[5] 23 BINARY.SIZE[9] 0 ...
        S: 1 OK ...
        C: 2 FETCH 1 BINARY.PEEK[1]
        S: * 1 FETCH (BINARY[1] {264}
        S: {octets})
        S: 2 OK ...
        C: 3 FETCH 1 BINARY.PEEK[1]<2.5>
        S: * 1 FETCH (BINARY[1]<2> {5}
        S: "#$%&)
        S: 3 OK ...
        C: 4 FETCH 1 (BINARY.PEEK[2] BINARY.PEEK[9])
        S*: ... BINARY[9] NIL)
        S: 4 OK ...
        C: 5 FETCH 1 FLAGS
        S: * 1 FETCH (FLAGS (\Recent))
        S: 5 OK ...
        C: 6 FETCH 1 BINARY[5]
        S: * 1 FETCH (BINARY[5] {23}
        S*: ... FLAGS (\Seen \Recent))
        S: 6 OK ...
        """,
        octets=OCTETS.decode(),
        text=len(TEXT.encode()) + 1,
    )
    await conversation.play(
        r"""
        C: 7 FETCH 1 BINARY[3]
        S: * 1 FETCH (BINARY[3] ~{3}
        S*: 7 OK ...
        """
    )


async def test_an_encoding_that_nobody_knows_is_said_so_and_the_rest_is_told(imap: Any) -> None:
    await imap.play(
        LOGIN
        + append("a", LETTER)
        + append("b", LETTER)
        + r"""
        S: a OK ...
        S: b OK ...
        C: s SELECT INBOX
        S*: s OK ...
        C: 1 FETCH 1:2 (BINARY.PEEK[4] BINARY.PEEK[5]<0.7>)
        S: * 1 FETCH (BINARY[4] NIL BINARY[5]<0> {7}
        S: Subject)
        S: * 2 FETCH (BINARY[4] NIL BINARY[5]<0> {7}
        S: Subject)
        S: 1 NO [UNKNOWN-CTE] ...
        C: 2 FETCH 1 BINARY[1.HEADER]
        S: 2 BAD ...
        C: 3 FETCH 1 BINARY[0]
        S: 3 BAD ...
        C: 4 FETCH 1 BINARY.SIZE[1]<0.1>
        S: 4 BAD ...
        C: 5 FETCH 1 BINARY
        S: 5 BAD ...
        """
    )


async def test_octets_with_nul_are_kept_as_they_are(imap: Any) -> None:
    letter = b"Content-Transfer-Encoding: binary\r\nContent-Type: application/octet-stream\r\n\r\n\0one\0\xff"
    await imap.play(
        LOGIN
        + append("a", letter, mark="~")
        + r"""
        S: a OK [APPENDUID ...
        C: s SELECT INBOX
        S*: s OK ...
        C: 1 FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1])
        S: * 1 FETCH (BINARY.SIZE[1] 6 BINARY[1] ~{6}
        S*: 1 OK ...
        C: 2 FETCH 1 BINARY.PEEK[]
        S: * 1 FETCH (BINARY[] ~{size}
        S*: 2 OK ...
        """,
        size=f"{{{len(letter)}}}",
    )


async def test_a_large_part_is_decoded_whole(imap: Any) -> None:
    octets = b"0123456789abcdef" * 100_000
    encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    letter = b"Content-Transfer-Encoding: base64\r\nContent-Type: application/octet-stream\r\n\r\n" + encoded
    conversation = await imap.play(LOGIN + append("a", letter) + "S: a OK ...\nC: s SELECT INBOX\nS*: s OK ...")
    await conversation.play(
        "C: 1 FETCH 1 (BINARY.SIZE[1] BINARY[1])\nS: * 1 FETCH (BINARY.SIZE[1] 1600000 BINARY[1] {1600000}"
    )
    await conversation.play("S: {whole} FLAGS (\\Seen \\Recent))\nS: 1 OK ...", whole=octets.decode())
