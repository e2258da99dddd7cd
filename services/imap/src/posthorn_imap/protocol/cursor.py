"""Reads the tokens of RFC 9051 section 9 from a framed command. Every mistake is a SyntaxProblem with its reason."""

import re
from collections.abc import Callable, Set
from typing import TypeVar

from posthorn_imap.protocol.framer import Literal, Parts

T = TypeVar("T")

ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
LIST_MAILBOX = re.compile(rb'[^\x00-\x20\x7f-\xff(){"\\]+')
TAG = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+')
NUMBER = re.compile(rb"[0-9]{1,20}")
# 8-bit octets are let through: logins and searches carry them, and each use decodes them strictly.
QUOTED = re.compile(rb'"((?:[^\x00\r\n"\\]|\\["\\])*)"')
_ESCAPED = re.compile(rb'\\(["\\])')

MAX_NUMBER = 2**32 - 1
MAX_NUMBER64 = 2**63 - 1
MAX_ITEMS = 10_000


class SyntaxProblem(Exception):
    """The command cannot be understood; the text goes into the BAD response."""


class Unsupported(Exception):
    """A well-formed command asks for what is not offered: NO with a text and a response code (RFC 5530)."""

    text: str
    code: bytes


class Cursor:
    """A position in the parts of one command."""

    __slots__ = ("_at", "_index", "_parts", "enabled")

    def __init__(self, parts: Parts, enabled: Set[bytes] = frozenset()) -> None:
        self._parts = parts
        self.enabled = enabled
        """What the client has enabled (RFC 5161), in upper case."""
        self._index = 0
        self._at = 0

    @property
    def utf8(self) -> bool:
        """Names of mailboxes are in UTF-8."""
        return not self.enabled.isdisjoint((b"IMAP4REV2", b"UTF8=ACCEPT"))

    def _text(self) -> bytes:
        """The text at the position, moving over the end of a piece only when text follows."""
        if self._index >= len(self._parts):
            return b""
        part = self._parts[self._index]
        return part if isinstance(part, bytes) else b""

    def _at_literal(self) -> bool:
        if self._index >= len(self._parts):
            return False
        part = self._parts[self._index]
        if isinstance(part, bytes) and self._at >= len(part):
            following = self._index + 1
            return following < len(self._parts) and isinstance(self._parts[following], Literal)
        return False

    def peek(self) -> bytes:
        """The next octet; b"" at the end of the command or in front of a literal."""
        return self._text()[self._at : self._at + 1]

    def at_end(self) -> bool:
        return not self.peek() and not self._at_literal()

    def end(self) -> None:
        if not self.at_end():
            raise SyntaxProblem("unexpected text at the end of the command")

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Take what `pattern` matches here."""
        found = pattern.match(self._text(), self._at)
        if found:
            self._at = found.end()
        return found

    def accept(self, token: bytes) -> bool:
        """Take `token` (in any case) when it is next."""
        if self._text()[self._at : self._at + len(token)].upper() != token.upper():
            return False
        self._at += len(token)
        return True

    def expect(self, token: bytes) -> None:
        if not self.accept(token):
            raise SyntaxProblem(f'expected "{token.decode()}"')

    def space(self) -> None:
        """Take a space. IMAPClient sends two in front of the second literal of a command: both are taken there."""
        if not self.accept(b" "):
            raise SyntaxProblem("missing argument" if self.at_end() else "expected a space")
        if self._text()[self._at :] == b" ":
            self._at += 1
            if not self._at_literal():
                self._at -= 1

    def _required(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        found = self.match(pattern)
        if found is None:
            raise SyntaxProblem(f"expected {what}")
        return found[0]

    def atom(self) -> bytes:
        return self._required(ATOM, "an atom")

    def word(self) -> bytes:
        """An atom in upper case: a keyword of the protocol."""
        return self.atom().upper()

    def tag(self) -> bytes:
        return self._required(TAG, "a tag")

    def number(self, limit: int = MAX_NUMBER) -> int:
        value = int(self._required(NUMBER, "a number"))
        if value > limit:
            raise SyntaxProblem("number too large")
        return value

    def nonzero(self, limit: int = MAX_NUMBER) -> int:
        value = self.number(limit)
        if not value:
            raise SyntaxProblem("zero is not allowed here")
        return value

    def literal(self) -> Literal | None:
        """Take the literal that is next, if one is."""
        if not self._at_literal():
            return None
        found = self._parts[self._index + 1]
        assert isinstance(found, Literal)
        self._index, self._at = self._index + 2, 0
        return found

    def _maybe_string(self) -> bytes | None:
        if quoted := self.match(QUOTED):
            return _ESCAPED.sub(rb"\1", quoted[1])
        literal = self.literal()
        if literal is None:
            return None
        if literal.binary:
            raise SyntaxProblem("a binary literal is not allowed here")
        if b"\0" in literal.data:
            raise SyntaxProblem("NUL in a literal")
        return literal.data

    def string(self) -> bytes:
        found = self._maybe_string()
        if found is None:
            raise SyntaxProblem("expected a string")
        return found

    def nstring(self) -> bytes | None:
        found = self._maybe_string()
        if found is None:
            if self.word() != b"NIL":
                raise SyntaxProblem("expected a string or NIL")
            return None
        return found

    def astring(self) -> bytes:
        found = self._maybe_string()
        return self._required(ASTRING, "an atom or a string") if found is None else found

    def list_mailbox(self) -> bytes:
        found = self._maybe_string()
        return self._required(LIST_MAILBOX, "a mailbox pattern") if found is None else found

    def listed(self, item: Callable[["Cursor"], T], *, least: int = 1) -> list[T]:
        """A parenthesised list of `item`s, `least` or more of them."""
        self.expect(b"(")
        found: list[T] = []
        if not self.accept(b")"):
            found.append(item(self))
            while not self.accept(b")"):
                self.space()
                found.append(item(self))
                if len(found) > MAX_ITEMS:
                    raise SyntaxProblem("list too long")
        if len(found) < least:
            raise SyntaxProblem("empty list")
        return found
