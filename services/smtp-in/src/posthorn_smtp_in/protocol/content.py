"""Message content as it arrives: dot-unstuffing, the one true end, and the rules lines must keep.

The only end of data is CRLF.CRLF (RFC 5321 4.1.1.4). A bare CR, a bare LF or a NUL makes the content faulty, but
reading goes on to the true end, so that nothing inside can be taken for commands (no SMTP smuggling). Faulty or
oversize content is swallowed, not kept. No line is looked at alone: all checks work on whole chunks.
"""

from dataclasses import dataclass
from enum import Enum

END = b"\r\n.\r\n"
DOT = END[:3]
_DOTS = 4
_STRETCH = 4096
"""Dots that are looked at each by itself, and octets that are searched then."""
MAX_LINE = 998
"""Octets of a line without CRLF (RFC 5321 4.5.3.1.6), after the duplicated dot is gone."""


class Fault(Enum):
    """Why content cannot be accepted."""

    BARE_LINE_END = "bare CR or LF"
    NUL = "NUL octet"
    LONG_LINE = "line over 998 octets"
    TOO_LARGE = "too large"
    FLOOD = "far too large"
    """More than twice the limit: the connection ends rather than read on."""


@dataclass(frozen=True, slots=True)
class ContentLimits:
    """`size` in octets after unstuffing; `long_lines` lets lines over 998 octets pass."""

    size: int
    long_lines: bool = False


def flood_size(limits: ContentLimits) -> int:
    """Octets after which reading on to the end would only serve the sender."""
    return 2 * limits.size + 1_048_576


class LineRules:
    """Checks pieces of content, cut anywhere but between CR and LF, and counts them. Keeps the first fault found."""

    def __init__(self, limits: ContentLimits) -> None:
        self._limits = limits
        self._open_line = 0
        self.size = 0
        self.fault: Fault | None = None

    def check(self, piece: bytes) -> bool:
        """Count a piece; returns whether it belongs to content that is still good."""
        self.size += len(piece)
        if self.size > flood_size(self._limits):
            self.fault = Fault.FLOOD
        elif self.fault is None:
            self.fault = self._judge(piece)
        return self.fault is None

    def _judge(self, piece: bytes) -> Fault | None:
        if self.size > self._limits.size:
            return Fault.TOO_LARGE
        # Octets that stand alone are found several times as fast as pairs of them.
        if piece.replace(b"\r", b"").replace(b"\n", b"\r\n") != piece:
            return Fault.BARE_LINE_END
        if b"\0" in piece:
            return Fault.NUL
        if self._too_long(piece) and not self._limits.long_lines:
            return Fault.LONG_LINE
        return None

    def _too_long(self, piece: bytes) -> bool:
        """Whether a line passes the limit: one backward search for LF per 1,000 octets, however short lines are."""
        start = -self._open_line
        longest = MAX_LINE + 2
        while len(piece) - start >= longest:
            end = piece.rfind(b"\n", max(start, 0), start + longest)
            if end < 0:
                return True
            start = end + 1
        last = piece.rfind(b"\n")
        self._open_line = len(piece) - 1 - last if last >= 0 else self._open_line + len(piece)
        return self._open_line > MAX_LINE


class DotReader:
    """Content of DATA. Feed bytes until `done`; what follows the end is handed back."""

    def __init__(self, limits: ContentLimits) -> None:
        self.rules = LineRules(limits)
        self.done = False
        # The line end before the first octet is that of the DATA command: a dot on the first line is a stuffed one too.
        self._held = b"\r\n"
        self._skip = 2

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Returns (content piece, bytes behind the end); the piece is empty when faulty, or nothing can be said yet."""
        data = self._held + data
        # The end is a line with a dot too: where no line begins with one there is neither.
        dot = _dotted_line(data)
        end = data.find(END, dot) if dot >= 0 else -1
        if end >= 0:
            self.done = True
            piece, rest = data[: end + 2], data[end + len(END) :]
        else:
            cut = len(data) - _partial_end(data)
            piece, self._held, rest = data[:cut], data[cut:], b""
        if dot != end:
            piece = piece.replace(DOT, b"\r\n")
        if self._skip and len(piece) >= self._skip:
            piece = piece[self._skip :]
            self._skip = 0
        return (piece if self.rules.check(piece) else b""), rest


def _dotted_line(data: bytes) -> int:
    """Where the CRLF of the first line stands that is followed by a dot; -1 for none.

    An octet is found a hundred times as fast as three in a row, and attachments have no dots: so a few are looked at
    each by itself, and then a stretch as a whole, which is faster where there are many, and a longer one each time.
    """
    at, stretch = 0, _STRETCH
    while True:
        for _ in range(_DOTS):
            dot = data.find(b".", at)
            if dot < 0:
                return -1
            if dot >= 2 and data.startswith(b"\r\n", dot - 2):
                return dot - 2
            at = dot + 1
        found = data.find(DOT, max(at - 2, 0), at + stretch)
        if found >= 0:
            return found
        at, stretch = at + stretch, 2 * stretch


def _partial_end(data: bytes) -> int:
    """How many octets at the end of `data` may be the start of CRLF.CRLF."""
    for length in range(min(len(END) - 1, len(data)), 0, -1):
        if data.endswith(END[:length]):
            return length
    return 0


class ChunkReader:
    """Content of BDAT chunks (RFC 3030): counted, not dotted. Lines must still end with CRLF: no BINARYMIME here."""

    def __init__(self, limits: ContentLimits) -> None:
        self.rules = LineRules(limits)
        self._held = b""

    def feed(self, data: bytes, *, last: bool) -> bytes:
        """Returns the content piece; a CR at the border of two chunks waits for its LF."""
        data = self._held + data
        self._held = b""
        if data.endswith(b"\r") and not last:
            data, self._held = data[:-1], b"\r"
        return data if self.rules.check(data) else b""
