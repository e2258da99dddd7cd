"""POP3 on the wire without IO: lines to requests, content to dot-stuffed lines (RFC 1939 3, RFC 2449 4)."""

import re
from dataclasses import dataclass
from enum import Enum

MAX_LINE = 255
"""Octets of a command with its CRLF (RFC 2449 4)."""
MAX_SASL = 12_288
"""Octets of a SASL response (RFC 5034 4)."""
_BARE_LF = re.compile(rb"(?<!\r)\n")
_LINE_START_DOT = re.compile(rb"^\.", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]{1,9}")


class State(Enum):
    AUTHORIZATION = "authorization"
    TRANSACTION = "transaction"
    ENDED = "ended"


ALLOWED = {
    **dict.fromkeys(("USER", "PASS", "AUTH", "STLS", "UTF8"), frozenset({State.AUTHORIZATION})),
    **dict.fromkeys(("CAPA", "QUIT", "LANG"), frozenset({State.AUTHORIZATION, State.TRANSACTION})),
    **dict.fromkeys(("STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "TOP", "UIDL"), frozenset({State.TRANSACTION})),
}
"""Every command with the states that allow it."""
_ARGUMENTS = {
    "USER": (1, 1), "PASS": (1, 1), "AUTH": (0, 2), "STLS": (0, 0), "CAPA": (0, 0), "QUIT": (0, 0), "STAT": (0, 0),
    "LIST": (0, 1), "RETR": (1, 1), "DELE": (1, 1), "NOOP": (0, 0), "RSET": (0, 0), "TOP": (2, 2), "UIDL": (0, 1),
    "UTF8": (0, 0), "LANG": (0, 1),
}  # fmt: skip
"""Least and most arguments of each."""


class BadRequest(Exception):
    """What follows -ERR; `garbage`: there is no such command."""

    def __init__(self, reason: str, *, garbage: bool = False) -> None:
        super().__init__(reason)
        self.garbage = garbage


@dataclass(frozen=True, slots=True)
class Request:
    verb: str
    arguments: tuple[str, ...]

    def number(self, position: int) -> int:
        """An argument that is a number. Raises BadRequest."""
        text = self.arguments[position]
        if not _NUMBER.fullmatch(text):
            raise BadRequest("expected a number")
        return int(text)


def read_request(line: bytes, state: State) -> Request:
    """Read a line without its CRLF. Raises BadRequest."""
    if b"\0" in line or b"\r" in line:
        raise BadRequest("control characters in a command", garbage=True)
    verb, _, rest = line.decode("utf-8", "surrogateescape").partition(" ")
    verb = verb.upper()
    if verb not in ALLOWED:
        raise BadRequest("unknown command", garbage=True)
    # A password is all that follows, spaces too (RFC 1939 7).
    arguments = (rest,) if verb == "PASS" and rest else tuple(rest.split())
    least, most = _ARGUMENTS[verb]
    if not least <= len(arguments) <= most:
        raise BadRequest(f"{verb} takes {least if least == most else f'{least} to {most}'} arguments")
    if state not in ALLOWED[verb]:
        raise BadRequest("log in first" if state is State.AUTHORIZATION else "already logged in")
    return Request(verb, arguments)


def stuffed(content: bytes) -> bytes:
    """Content as lines with CRLF, dots at their start doubled, and the final dot."""
    lines = _BARE_LF.sub(b"\r\n", content)
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    return _LINE_START_DOT.sub(b"..", lines) + b".\r\n"


def top(content: bytes, header_length: int, count: int) -> bytes:
    """The header and the first `count` lines of the body (RFC 1939 7, TOP)."""
    at = header_length
    for _ in range(count):
        end = content.find(b"\n", at)
        if end < 0:
            return content
        at = end + 1
    return content[:at]
