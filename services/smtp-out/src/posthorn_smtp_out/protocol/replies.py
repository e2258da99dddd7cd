"""Reads the remote's replies (RFC 5321 4.2). The remote may send anything: every line, reply and buffer is bounded."""

import re
from dataclasses import dataclass

MAX_LINE = 2048
"""Octets; four times what RFC 5321 4.5.3.1.5 allows, as real servers are wordy."""
MAX_LINES = 128
MAX_TEXT = 1000
"""Characters of a reply that are kept for logs and reports."""

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class ReplyFault(Exception):
    """What came is no SMTP reply; the connection cannot be used any more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; `lines` are the texts without codes, controls replaced."""

    code: int
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        return self.code < 400

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @property
    def status(self) -> str:
        """The enhanced status code (RFC 2034) when it fits the reply's class, else the class with ".0.0"."""
        match = _STATUS.match(self.lines[0])
        group = min(self.code // 100, 5)
        if match and match[1][0] == str(group):
            return match[1]
        return f"{group}.0.0" if group in (2, 4, 5) else "2.0.0"

    @property
    def text(self) -> str:
        """Code and text on one line, bounded."""
        return f"{self.code} {' '.join(self.lines)}"[:MAX_TEXT].rstrip()


class ReplyReader:
    """Feed octets, take whole replies. Raises ReplyFault for what is none; it must not be used after that."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._code = 0
        self._lines: list[str] = []

    @property
    def empty(self) -> bool:
        """Nothing half read is held."""
        return not self._buffer and not self._lines

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are complete now."""
        self._buffer += data
        found = []
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            reply = self._take(line)
            if reply is not None:
                found.append(reply)
        if len(self._buffer) > MAX_LINE:
            raise ReplyFault("a reply line is too long")
        return found

    def _take(self, line: bytes) -> Reply | None:
        match = _LINE.fullmatch(line) if len(line) <= MAX_LINE else None
        if match is None:
            raise ReplyFault("not an SMTP reply")
        code = int(match[1])
        if self._lines and code != self._code:
            raise ReplyFault("a reply changed its code between lines")
        if len(self._lines) >= MAX_LINES:
            raise ReplyFault("a reply has too many lines")
        self._code = code
        self._lines.append(_CONTROLS.sub(" ", (match[3] or b"").decode("utf-8", "replace")))
        if match[2] == b"-":
            return None
        reply = Reply(code, tuple(self._lines))
        self._lines.clear()
        return reply
