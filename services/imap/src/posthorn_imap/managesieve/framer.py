"""The octets of a ManageSieve client to frames (RFC 5804 4): a line, with the literals in it. No IO.

Literals do not wait for the server ({n+}). One that is too large is read past without being kept; a line that is too
long, or a literal beyond all measure, ends the connection.
"""

import re
from dataclasses import dataclass, field
from typing import TypeAlias

MAX_LINE = 16_384
"""Octets of a line without its literals: names of 128 characters (RFC 5804 1.6), responses of SASL."""
MAX_QUOTED = 12_288
MAX_LITERALS = 8
FAR_TOO_LARGE = 16_777_216
"""Octets of a literal that is not even read past."""

_LITERAL = re.compile(rb"\{(\d{1,10})(\+?)\}\Z")
_TOKEN = re.compile(rb'[ \t]*+(?:"((?:[^"\\]|\\["\\])*+)"|([A-Za-z0-9_.:+/-]++))(?=[ \t]|\Z)')
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Word:
    """An atom or a number, as sent."""

    text: str


Token: TypeAlias = Word | bytes
"""A word, or the octets of a quoted string or literal."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One command, or one response of SASL."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """What is no frame. `fatal`: nobody knows where the next one begins."""

    reason: str
    fatal: bool = False
    too_large: bool = False


@dataclass(slots=True)
class Framer:
    """Feed it octets, ask for frames. `max_literal` is in octets."""

    max_literal: int
    _input: bytearray = field(default_factory=bytearray)
    _tokens: list[Token] = field(default_factory=list)
    _literal: int | None = None
    """Octets that the literal at hand still lacks, when they are kept."""
    _skip: int = 0
    """Octets of a literal that are read past."""
    _problem: Broken | None = None
    """Told at the end of the line it is in."""
    _line: int = 0
    """Octets of the line so far."""
    _literals: int = 0

    def feed(self, data: bytes) -> None:
        self._input += data

    def forget(self) -> None:
        """Drop what was sent ahead of TLS."""
        self._input.clear()
        self._end()

    def next(self) -> Frame | Broken | None:
        """The next frame; None when more octets are needed."""
        while True:
            if self._skip:
                gone = min(self._skip, len(self._input))
                del self._input[:gone]
                self._skip -= gone
                if self._skip:
                    return None
            if self._literal is not None:
                if len(self._input) < self._literal:
                    return None
                self._tokens.append(bytes(self._input[: self._literal]))
                del self._input[: self._literal]
                self._literal = None
            end = self._input.find(b"\n")
            if (end if end >= 0 else len(self._input)) + self._line > MAX_LINE:
                return Broken("the line is too long", fatal=True)
            if end < 0:
                return None
            piece = bytes(self._input[:end]).removesuffix(b"\r")
            del self._input[: end + 1]
            self._line += len(piece)
            done = self._take(piece)
            if done is not None:
                return done

    def _take(self, piece: bytes) -> Frame | Broken | None:
        """A piece of a line, up to a literal or to the line's end."""
        mark = _LITERAL.search(piece)
        self._read(piece if mark is None else piece[: mark.start()])
        if mark is None:
            found = self._problem or Frame(tuple(self._tokens))
            self._end()
            return found
        size = int(mark[1])
        self._literals += 1
        if size > FAR_TOO_LARGE or self._literals > MAX_LITERALS:
            return Broken("a literal is far too large", fatal=True, too_large=True)
        if not mark[2]:
            return Broken("a literal of a client is {n+}", fatal=True)
        if size > self.max_literal or self._problem is not None:
            self._problem = self._problem or Broken("a literal is too large", too_large=True)
            self._skip = size
        else:
            self._literal = size
        return None

    def _read(self, piece: bytes) -> None:
        position = 0
        piece = piece.rstrip(b" \t")
        while position < len(piece) and self._problem is None:
            match = _TOKEN.match(piece, position)
            if match is None:
                self._problem = Broken("expected words, quoted strings or literals with a space between them")
            elif match[2] is not None:
                self._tokens.append(Word(match[2].decode("ascii")))
                position = match.end()
            elif len(match[1]) > MAX_QUOTED:
                self._problem = Broken("a quoted string is too long: send a literal")
            else:
                self._tokens.append(_ESCAPED.sub(rb"\1", match[1]))
                position = match.end()

    def _end(self) -> None:
        self._tokens = []
        self._literal = self._problem = None
        self._skip = self._line = self._literals = 0
