"""One scan of a message as a delivery does it; beside the standard library's parser, which only builds its tree.

Ours is all of `summarize`: the tree with offsets, envelope, body structures, listing, kept headers, preview, search
text and thread keys. The reference is `email.message_from_bytes` with nothing decoded.
"""

import base64
import quopri
import random
import time
from collections.abc import Callable
from email import message_from_bytes

from bench.runner import Row
from posthorn_mail_format import summarize

_CRLF = b"\r\n"
_HEADER = b"".join(
    b"Received: from mx%d.example.net (mx%d.example.net [192.0.2.%d])\r\n\tby mx.example.org with ESMTPS id 4XYZ%d\r\n"
    b"\tfor <bob@example.org>; Thu, 30 Oct 2014 14:12:00 +0800\r\n" % (hop, hop, hop, hop)
    for hop in range(5)
) + (
    b"Date: Thu, 30 Oct 2014 14:12:00 +0800\r\nFrom: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>\r\n"
    b'To: "Bob B." <bob@example.org>, carl@example.org, Dora Long Name <dora@example.com>\r\n'
    b"Subject: Re: [list] =?utf-8?b?R3LDvMOfZQ==?= and more words\r\nMessage-ID: <one@example.org>\r\n"
    b"In-Reply-To: <zero@example.org>\r\nReferences: <first@example.org> <zero@example.org>\r\nMIME-Version: 1.0\r\n"
)
_RANDOM = random.Random(1)
_WORDS = ["".join(_RANDOM.choices("abcdefghijklmnopqrstuvwxyz", k=_RANDOM.randint(2, 9))) for _ in range(3000)]


def some_text(size: int) -> bytes:
    """Lines of ten words."""
    lines, length = [], 0
    while length < size:
        lines.append(" ".join(_RANDOM.choices(_WORDS, k=10)))
        length += len(lines[-1]) + 2
    return "\r\n".join(lines).encode("ascii")[:size]


def _html(size: int) -> bytes:
    """A newsletter: rows of linked cells with styles, and paragraphs."""
    pieces, length = ["<html><head><style>p{color:red}</style></head><body>"], 0
    while length < size:
        link = f"https://click.example.org/{_RANDOM.random()}"
        cell = (
            f'<td style="padding:0 10px;font-family:Arial" class="x"><a href="{link}">{_RANDOM.choice(_WORDS)}</a></td>'
        )
        pieces.append(f"<tr>{cell}</tr>\r\n<p>{some_text(80).decode()}&nbsp;&amp;</p>\r\n")
        length += len(pieces[-1])
    return "".join(pieces).encode("ascii")[:size]


def _single(fields: bytes, body: bytes) -> bytes:
    return _HEADER + fields + _CRLF + body


def _multipart(subtype: bytes, *parts: tuple[bytes, bytes]) -> bytes:
    pieces = [b"--=_b\r\n" + fields + _CRLF + body + _CRLF for fields, body in parts]
    return _single(b'Content-Type: multipart/%s; boundary="=_b"\r\n' % subtype, b"".join(pieces) + b"--=_b--\r\n")


def _base64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", _CRLF)


_PLAIN = b"Content-Type: text/plain; charset=utf-8\r\n"
_MARKUP = b"Content-Type: text/html; charset=utf-8\r\n"
_IN_BASE64 = b"Content-Transfer-Encoding: base64\r\n"
_IN_QP = b"Content-Transfer-Encoding: quoted-printable\r\n"
_FILE = b'Content-Disposition: attachment; filename="a.bin"\r\nContent-Type: application/octet-stream\r\n' + _IN_BASE64


def _messages() -> dict[str, bytes]:
    ten = some_text(1_000_000) * 10
    quoted = quopri.encodestring("Schöne Grüße ".encode() + some_text(600)).replace(b"\n", _CRLF) + _CRLF
    nested = _PLAIN + b"\r\nhello"
    for level in range(24):
        inner = b"Content-Type: message/rfc822\r\n\r\n" + _HEADER + nested
        nested = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n%s\r\n--b%d--\r\n" % (
            level,
            level,
            inner,
            level,
        )
    return {
        "2 KB text": _single(_PLAIN, some_text(1_000)),
        "50 KB text and HTML": _multipart(b"alternative", (_PLAIN, some_text(12_000)), (_MARKUP, _html(37_000))),
        "50 KB text": _single(_PLAIN, some_text(49_000)),
        "50 KB with an attachment": _multipart(
            b"mixed", (_PLAIN, some_text(3_000)), (_FILE, _base64(some_text(33_000)))
        ),
        "10 MB with an attachment": _multipart(b"mixed", (_PLAIN, some_text(3_000)), (_FILE, _base64(ten[:7_300_000]))),
        "10 MB text": _single(_PLAIN, ten),
        "10 MB HTML": _single(_MARKUP, _html(1_000_000) * 10),
        "10 MB quoted-printable": _single(_PLAIN + _IN_QP, quoted * (10_000_000 // len(quoted))),
        "900 parts": _multipart(b"mixed", *[(_PLAIN, some_text(300))] * 900),
        "24 messages in each other": _HEADER + nested,
    }


def _fastest(work: Callable[[bytes], object], data: bytes) -> float:
    """Milliseconds of the fastest of several calls: what others do on the machine only adds."""
    taken = []
    for _ in range(50 if len(data) < 1_000_000 else 5):
        begun = time.perf_counter()
        work(data)
        taken.append(time.perf_counter() - begun)
    return min(taken) * 1000


def rows() -> list[Row]:
    """One row for each kind of message."""

    def row(name: str, data: bytes) -> Row:
        async def measure() -> float:
            return _fastest(summarize, data)

        async def reference() -> float:
            return _fastest(message_from_bytes, data)

        return Row(f"scan of {name}", "ms", False, measure, reference, "email.message_from_bytes", 5)

    return [row(name, data) for name, data in _messages().items()]
