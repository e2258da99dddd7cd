"""Commands of ManageSieve as values (RFC 5804 2): what each takes, and in which state it is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from posthorn_imap.managesieve.framer import Frame, Word


class State(Enum):
    NOT_AUTHENTICATED = "log in first"
    AUTHENTICATED = "already logged in"
    ENDED = "the connection is closing"


_ANY = frozenset({State.NOT_AUTHENTICATED, State.AUTHENTICATED})
_BEFORE = frozenset({State.NOT_AUTHENTICATED})
_AFTER = frozenset({State.AUTHENTICATED})
ALLOWED: Mapping[str, frozenset[State]] = {
    "AUTHENTICATE": _BEFORE, "STARTTLS": _BEFORE,
    "CAPABILITY": _ANY, "LOGOUT": _ANY, "NOOP": _ANY,
    "HAVESPACE": _AFTER, "PUTSCRIPT": _AFTER, "LISTSCRIPTS": _AFTER, "SETACTIVE": _AFTER, "GETSCRIPT": _AFTER,
    "DELETESCRIPT": _AFTER, "RENAMESCRIPT": _AFTER, "CHECKSCRIPT": _AFTER, "UNAUTHENTICATE": _AFTER,
}  # fmt: skip
"""Every command with the states that allow it."""
_STRINGS: Mapping[str, tuple[int, int]] = {
    "AUTHENTICATE": (1, 2), "NOOP": (0, 1), "HAVESPACE": (1, 1), "PUTSCRIPT": (2, 2), "SETACTIVE": (1, 1),
    "GETSCRIPT": (1, 1), "DELETESCRIPT": (1, 1), "RENAMESCRIPT": (2, 2), "CHECKSCRIPT": (1, 1),
}  # fmt: skip
"""Least and most strings of each; the others take none."""


class BadRequest(Exception):
    """What follows NO; `garbage`: there is no such command."""

    def __init__(self, reason: str, *, garbage: bool = False) -> None:
        super().__init__(reason)
        self.garbage = garbage


@dataclass(frozen=True, slots=True)
class Request:
    verb: str
    strings: tuple[bytes, ...]
    number: int = 0
    """Of HAVESPACE."""

    def name(self, position: int = 0) -> str:
        """A script's name. Raises BadRequest."""
        try:
            return self.strings[position].decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest("a name is UTF-8") from None


def read_request(frame: Frame, state: State) -> Request:
    """Read a command. Raises BadRequest."""
    if not frame.tokens or not isinstance(frame.tokens[0], Word):
        raise BadRequest("expected a command", garbage=True)
    verb, rest = frame.tokens[0].text.upper(), list(frame.tokens[1:])
    if verb not in ALLOWED:
        raise BadRequest("unknown command", garbage=True)
    number = 0
    if verb == "HAVESPACE":
        last = rest.pop() if rest else b""
        if not isinstance(last, Word) or not last.text.isdecimal() or len(last.text) > 10:
            raise BadRequest("HAVESPACE takes a name and a number of octets")
        number = int(last.text)
    strings = tuple(token for token in rest if isinstance(token, bytes))
    least, most = _STRINGS.get(verb, (0, 0))
    if len(strings) != len(rest) or not least <= len(strings) <= most:
        raise BadRequest(f"{verb} takes {most if least == most else f'{least} to {most}'} strings")
    if state not in ALLOWED[verb]:
        raise BadRequest(state.value)
    return Request(verb, strings, number)
