"""Responses as octets (RFC 9051 section 7)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from posthorn_imap.protocol.cursor import ASTRING
from posthorn_imap.protocol.mailbox_names import encode_utf7

_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f]+")
_QUOTABLE = re.compile(rb"[\x20-\x7e]*")


class Condition(Enum):
    OK = b"OK"
    NO = b"NO"
    BAD = b"BAD"
    BYE = b"BYE"
    PREAUTH = b"PREAUTH"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status response: condition, text for people, and a response code such as b"TRYCREATE" (RFC 5530)."""

    condition: Condition
    text: str
    code: bytes = b""

    def line(self, tag: bytes = b"*") -> bytes:
        """The response with its tag; untagged without one."""
        code = b"[" + self.code + b"] " if self.code else b""
        text = _LINE_BREAKS.sub(" ", self.text).encode("ascii", "replace") or b"."
        return b"%s %s %s%s\r\n" % (tag, self.condition.value, code, text)


def ok(text: str, code: bytes = b"") -> Answer:
    return Answer(Condition.OK, text, code)


def no(text: str, code: bytes = b"") -> Answer:
    return Answer(Condition.NO, text, code)


def bad(text: str, code: bytes = b"") -> Answer:
    return Answer(Condition.BAD, text, code)


def bye(text: str, code: bytes = b"") -> Answer:
    return Answer(Condition.BYE, text, code)


def untagged(*words: bytes) -> bytes:
    """An untagged data response from its words."""
    return b"* " + b" ".join(words) + b"\r\n"


def continuation(text: str) -> bytes:
    return b"+ " + text.encode("ascii") + b"\r\n"


def string(octets: bytes) -> bytes:
    """A quoted string, or a literal where the octets cannot be quoted."""
    if len(octets) <= 1024 and _QUOTABLE.fullmatch(octets):
        return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return literal(octets)


def astring(octets: bytes) -> bytes:
    """An atom where the octets are one, else a string."""
    return octets if ASTRING.fullmatch(octets) else string(octets)


def string8(octets: bytes | None) -> bytes:
    """A string, or NIL; a literal8 where NUL is among the octets (RFC 9051 4.3)."""
    return b"~" + literal(octets) if octets is not None and b"\0" in octets else nstring(octets)


def nstring(octets: bytes | None) -> bytes:
    return b"NIL" if octets is None else string(octets)


def literal(octets: bytes) -> bytes:
    return b"{%d}\r\n" % len(octets) + octets


def mailbox_in_utf7(name: str) -> bytes:
    """A mailbox name in modified UTF-7, always quoted."""
    return string(encode_utf7(name))


def mailbox_in_utf8(name: str) -> bytes:
    """A mailbox name in UTF-8, quoted; names hold no control characters."""
    return b'"' + name.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "replace") + b'"'


def listed(words: Iterable[bytes]) -> bytes:
    return b"(" + b" ".join(words) + b")"
