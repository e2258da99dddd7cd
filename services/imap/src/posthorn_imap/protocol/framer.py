"""Splits a client's octets into commands: lines and the literals inside them (RFC 9051 4.3, RFC 7888).

It knows no grammar. Whether an announced literal is taken is the caller's choice, made before an octet of it is kept.
What breaks the rules of lines (NUL, bare CR or LF, over-long) costs one command, never the connection; only a
literal too large to be skipped ends it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ANNOUNCEMENT = re.compile(rb"(~?)\{([0-9]{1,20})(\+?)\}\Z")
_BROKEN = re.compile(rb"[\x00\r\n]")


@dataclass(frozen=True, slots=True)
class Literal:
    """The octets of a literal; `binary` for literal8 (RFC 9051 4.3.1)."""

    data: bytes
    binary: bool = False


Parts = Sequence[bytes | Literal]
"""A command: pieces of text (announcements of literals cut off) and the literals between them."""


@dataclass(frozen=True, slots=True)
class FramerLimits:
    """`line`: octets of text in one command. `literals`: how many in one command. `skip`: octets of one unwanted
    literal that are read and dropped."""

    line: int = 65536
    literals: int = 100
    skip: int = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Command:
    """A complete command."""

    parts: Parts


@dataclass(frozen=True, slots=True)
class Announced:
    """The client wants to send a literal of `size` octets; answer with `accept` or `refuse`.

    `head` is the first text of the command, `held` how many octets of literals the command holds already.
    """

    head: bytes
    size: int
    synchronizing: bool
    held: int


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line asked for with `expect_line`, without its CRLF."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Malformed:
    """A command that broke the rules of lines; all of it has been read. `head` may show its tag."""

    head: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Fatal:
    """The stream cannot be followed any further."""

    reason: str


Event = Command | Announced | Line | Malformed | Fatal


class Framer:
    """Feed it octets, take events until it has none. After Fatal it stays silent."""

    def __init__(self, limits: FramerLimits) -> None:
        self._limits = limits
        self._input = bytearray()
        self._searched = 0
        self._parts: list[bytes | Literal] = []
        self._text_size = 0
        self._held = 0
        self._literals = 0
        self._fault: str | None = None
        self._line_wanted = False
        self._announced: tuple[int, bool, bool] | None = None
        """Size, synchronizing, binary of the literal the caller is being asked about."""
        self._taking: tuple[int, bool] | None = None
        self._literal = bytearray()
        self._skipping = 0
        self._dropping_line = False
        self._dead = False

    def feed(self, data: bytes) -> None:
        self._input += data

    @property
    def pending(self) -> int:
        """Octets fed and not yet part of an event."""
        return len(self._input)

    @property
    def between_commands(self) -> bool:
        """Nothing of a command has been read yet."""
        return not (self._parts or self._announced or self._taking or self._skipping or self._input)

    def expect_line(self) -> None:
        """Read what comes next as one Line: no literals (SASL responses, the DONE of IDLE)."""
        self._line_wanted = True

    def forget_input(self) -> int:
        """Drop what has been fed, as STARTTLS asks for (RFC 9051 6.2.1); returns how many octets."""
        dropped = len(self._input)
        self._input.clear()
        self._searched = 0
        return dropped

    def take_input(self) -> bytes:
        """What has been fed and is not yet part of an event; it is no longer the framer's."""
        taken = bytes(self._input)
        self.forget_input()
        return taken

    def accept(self) -> None:
        """Take the announced literal."""
        assert self._announced is not None
        size, _, binary = self._announced
        self._announced = None
        self._taking = (size, binary)
        self._literals += 1

    def refuse(self) -> None:
        """Do not take the announced literal: the command is over.

        The octets of a non-synchronizing literal, and the rest of its command, are on their way and are dropped.
        """
        assert self._announced is not None
        size, synchronizing, _ = self._announced
        self._announced = None
        if synchronizing:
            self._reset()
            return
        self._fault = ""
        self._skip(size)

    def next_event(self) -> Event | None:
        """The next event, or None when more octets are needed (or the caller owes accept or refuse)."""
        while not self._dead and self._announced is None:
            if self._skipping:
                if not self._skip_some():
                    return None
            elif self._taking is not None:
                if not self._take_literal():
                    return None
            else:
                line = self._take_line()
                if line is None:
                    return None
                event = self._on_line(line)
                if event is not None:
                    return event
        return None

    def _take_line(self) -> bytes | None:
        """A line without its LF (its CR stays), or None. The rest of an over-long line is dropped as it comes."""
        end = self._input.find(b"\n", self._searched)
        room = self._limits.line - self._text_size
        if (end if end >= 0 else len(self._input)) > room + 1:  # one more for the CR
            self._too_long(room)
        if end < 0:
            if self._dropping_line:
                # The end is kept: whether the line announces a literal is still to be seen.
                del self._input[:-64]
            self._searched = len(self._input)
            return None
        line = bytes(self._input[:end])
        del self._input[: end + 1]
        self._searched = 0
        return line

    def _too_long(self, room: int) -> None:
        """The line that has begun is too long, however much of it is there already; its first fault is what is told."""
        if not self._dropping_line and self._fault is None:
            self._fault = f"command longer than {self._limits.line} octets"
            self._parts = self._parts or [bytes(self._input[: min(room, 64)])]
        self._dropping_line = True

    def _on_line(self, line: bytes) -> Event | None:
        self._dropping_line = False
        if not line.endswith(b"\r"):
            self._fault = "lines end with CRLF" if self._fault is None else self._fault
        else:
            line = line[:-1]
        if self._fault is None and (broken := _BROKEN.search(line)):
            self._fault = "NUL in a line" if broken[0] == b"\0" else "bare CR in a line"
        if self._line_wanted:
            self._line_wanted = False
            fault = self._fault
            self._reset()
            return Line(line) if fault is None else Malformed(b"", fault)
        announcement = _ANNOUNCEMENT.search(line)
        if announcement is None:
            return self._complete(line)
        return self._announce(line, announcement)

    def _complete(self, line: bytes) -> Event | None:
        head = self._head(line)
        fault, parts = self._fault, (*self._parts, line)
        self._reset()
        if fault is None:
            return Command(parts)
        return Malformed(head, fault) if fault else None

    def _announce(self, line: bytes, announcement: re.Match[bytes]) -> Event | None:
        size, synchronizing, binary = int(announcement[2]), not announcement[3], bool(announcement[1])
        text = line[: announcement.start()]
        if self._fault is None and self._literals >= self._limits.literals:
            self._fault = f"more than {self._limits.literals} literals"
        if self._fault is not None:
            if synchronizing:
                return self._complete(text)
            head = self._head(text)
            if not self._parts:
                self._parts.append(head)
            return self._skip(size)
        head = self._head(text)
        self._parts.append(text)
        self._text_size += len(text)
        if not synchronizing and size > self._limits.skip:
            self._dead = True
            return Fatal(f"literal of {size} octets")
        self._announced = (size, synchronizing, binary)
        return Announced(head, size, synchronizing, self._held)

    def _head(self, line: bytes) -> bytes:
        first = self._parts[0] if self._parts else line
        return first if isinstance(first, bytes) else b""

    def _skip(self, size: int) -> Fatal | None:
        if size > self._limits.skip:
            self._dead = True
            return Fatal(f"literal of {size} octets")
        self._skipping = size
        return None

    def _skip_some(self) -> bool:
        dropped = min(self._skipping, len(self._input))
        del self._input[:dropped]
        self._skipping -= dropped
        return not self._skipping

    def _take_literal(self) -> bool:
        assert self._taking is not None
        size, binary = self._taking
        piece = self._input[: size - len(self._literal)]
        del self._input[: len(piece)]
        self._literal += piece
        if len(self._literal) < size:
            return False
        self._parts.append(Literal(bytes(self._literal), binary))
        self._held += size
        self._taking, self._literal = None, bytearray()
        return True

    def _reset(self) -> None:
        self._parts, self._text_size, self._held, self._literals = [], 0, 0, 0
        self._fault = None
