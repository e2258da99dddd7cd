"""spamd's protocol, SPAMC/1.5 (the file spamd/PROTOCOL of SpamAssassin): one request, one response, one connection."""

import re
from dataclasses import dataclass
from typing import Literal

from posthorn_smtp_in.filters.protocol.problems import BadAnswer

Command = Literal["check", "symbols", "headers"]
MAX_HEAD = 8192
MAX_BODY = 1 << 20
MAX_SYMBOLS = 500

_FIRST = re.compile(rb"SPAMD/[0-9.]{1,8} ([0-9]{1,3}) ([\x20-\x7e]{0,200})")
_SPAM = re.compile(
    rb"(True|False|Yes|No)[ \t]*;[ \t]*(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)[ \t]*/[ \t]*(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)",
    re.IGNORECASE,
)
_LENGTH = re.compile(rb"[0-9]{1,9}")
_SYMBOL = re.compile(r"[A-Za-z0-9_]{1,100}")


@dataclass(frozen=True, slots=True)
class SpamReport:
    """What spamd thinks of a message."""

    spam: bool
    score: float
    required: float
    body: bytes
    """The names of rules (SYMBOLS), the rewritten header section (HEADERS), or nothing (CHECK)."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The names of the rules that matched, out of an answer to SYMBOLS."""
        names = re.split(r"[,\s]+", self.body.decode("ascii", "replace"))
        return tuple(name for name in names if _SYMBOL.fullmatch(name))[:MAX_SYMBOLS]


def request(command: Command, *, size: int, user: str) -> bytes:
    """What goes ahead of `size` octets of message; `user` is whose preferences count, "" for nobody's.

    Raises ValueError for a user that cannot stand in a line.
    """
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in user):
        raise ValueError("control characters in the name of a user")
    lines = [f"{command.upper()} SPAMC/1.5", f"Content-length: {size}"]
    if user:
        lines.append(f"User: {user}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def read_response(data: bytes | bytearray, *, ended: bool) -> SpamReport | None:
    """The response out of all octets so far; None while there is more to come, which `ended` says there is not.

    Raises BadAnswer, also for a response that tells of an error.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if ended or len(data) > MAX_HEAD:
            raise BadAnswer("spamd closed in the middle of its answer" if ended else "spamd's answer is too long")
        return None
    if end > MAX_HEAD:
        raise BadAnswer("spamd's answer is too long")
    first, *lines = bytes(data[:end]).split(b"\r\n")
    status = _FIRST.fullmatch(first)
    if status is None:
        raise BadAnswer("this is not spamd")
    if status[1] != b"0":
        raise BadAnswer(f"spamd has a problem: {status[2].decode('ascii')}")
    fields = dict(_field(line) for line in lines)
    length = fields.get(b"content-length", b"0")
    if _LENGTH.fullmatch(length) is None or int(length) > MAX_BODY:
        raise BadAnswer("spamd's answer is too long")
    body = bytes(data[end + 4 :])
    if len(body) < int(length):
        if ended:
            raise BadAnswer("spamd closed in the middle of its answer")
        return None
    return _report(fields.get(b"spam", b""), body[: int(length)])


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip().lower(), value.strip()


def _report(spam: bytes, body: bytes) -> SpamReport:
    match = _SPAM.fullmatch(spam)
    if match is None:
        raise BadAnswer("spamd did not say whether it is spam")
    return SpamReport(match[1].lower() in (b"true", b"yes"), float(match[2]), float(match[3]), body)
