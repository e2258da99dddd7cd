"""The canonical forms of RFC 6376 3.4, over whole buffers: no loop over lines, and no copy of a large body at once.

Costs are linear: runs of white space are halved by replacing pairs, which takes as many passes as the longest run has
binary digits.
"""

import hashlib
from collections.abc import Iterator
from enum import Enum

from posthorn_mail_auth.message import Body

PIECE = 1 << 20
"""Octets of a body that are brought into canonical form at a time."""


class Form(Enum):
    """A canonicalization algorithm."""

    SIMPLE = "simple"
    RELAXED = "relaxed"


def header_field(raw: bytes, form: Form) -> bytes:
    """A field with its CRLF in canonical form (RFC 6376 3.4.1, 3.4.2)."""
    if form is Form.SIMPLE:
        return raw
    name, _, value = raw.partition(b":")
    line = _spaced(value.replace(b"\r\n", b"")).strip(b" ")
    return name.strip(b" \t").lower() + b":" + line + b"\r\n"


class BodyHash:
    """The SHA-256 of a body in one form, and how long the canonical body is.

    With `length` only so many octets of the canonical body are hashed (RFC 6376 3.4.5).
    """

    __slots__ = ("digest", "size")

    def __init__(self, body: Body, form: Form, length: int | None = None) -> None:
        digest = hashlib.sha256()
        self.size = 0
        for piece in _pieces(body, form):
            if length is not None and self.size < length:
                digest.update(piece[: length - self.size])
            elif length is None:
                digest.update(piece)
            self.size += len(piece)
        self.digest = digest.digest()


def _pieces(body: Body, form: Form) -> Iterator[bytes | memoryview]:
    """The canonical body. Empty lines are held back until something follows them: those at the end do not count."""
    empty_lines = 0
    begun = False
    position = 0
    while position < body.size:
        piece = _lines(body, position)
        if not piece:  # what it is read from has gone
            break
        position += len(piece)
        if not piece.endswith(b"\r\n"):
            piece += b"\r\n"
        if form is Form.RELAXED:
            piece = _relaxed(piece)
        ends = _line_ends_at_end(piece)
        if 2 * ends == len(piece):
            empty_lines += ends
            continue
        if empty_lines:
            yield b"\r\n" * empty_lines
        yield memoryview(piece)[: len(piece) - 2 * ends]
        empty_lines = ends
        begun = True
    if begun or form is Form.SIMPLE:
        yield b"\r\n"


def _lines(body: Body, position: int) -> bytes:
    """The piece from `position` on: it ends behind a line end, so that no run of white space is cut, or at the end."""
    piece = body.read(position, PIECE)
    while len(piece) == PIECE or position + len(piece) < body.size:
        end = piece.rfind(b"\r\n")
        if end >= 0:
            return piece[: end + 2]
        more = body.read(position + len(piece), max(PIECE, len(piece)))
        if not more:
            break
        piece += more
    return piece


def _relaxed(text: bytes) -> bytes:
    text = _spaced(text)
    return text.replace(b" \r\n", b"\r\n") if text.rfind(b" \r\n") >= 0 else text


def _spaced(text: bytes) -> bytes:
    """One space for each run of white space. Most texts have none: rfind says so in half the time of find, where the
    needle is so short.
    """
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while text.rfind(b"  ") >= 0:
        text = text.replace(b"  ", b" ")
    return text


def _line_ends_at_end(text: bytes) -> int:
    """How many CRLF a text ends with."""
    tail = text[len(text.rstrip(b"\r\n")) :].replace(b"\r\n", b"|")
    return len(tail) - len(tail.rstrip(b"|"))
