"""The message a run looks at: header fields and parts as text, and the edits that actions after them see.

The octets stay as they came until an edit; then the head, or the parts replaced, are new and the rest is the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from posthorn_mail_format import Part, scan
from posthorn_mail_format.headers import Field, decode_text, header_end, iterate
from posthorn_sieve.errors import LimitReached
from posthorn_sieve.limits import Limits


@dataclass(frozen=True, slots=True)
class Place:
    """A part, in the content as it was when a loop began."""

    part: Part
    content: bytes
    edits: int
    """Made before that."""

    def header(self, part: Part | None = None) -> tuple[Field, ...]:
        """The fields of the part, or of one below it."""
        part = part or self.part
        return tuple(iterate(self.content, part.header_start, part.body_start))


class Letter:
    """One message; a run owns it."""

    __slots__ = ("_content", "_fields", "_growth", "_limits", "_moves", "_root")

    def __init__(self, content: bytes, limits: Limits) -> None:
        self._content = content
        self._limits = limits
        self._growth = 0
        self._moves: list[tuple[int, int, int]] = []
        """(start, end, octets now) of each edit, by the offsets before it."""
        self._fields: tuple[Field, ...] | None = None
        self._root: Part | None = None

    @property
    def content(self) -> bytes:
        return self._content

    @property
    def changed(self) -> bytes | None:
        """The message where an edit changed it, else None."""
        return self._content if self._moves else None

    @property
    def edits(self) -> int:
        return len(self._moves)

    @property
    def fields(self) -> tuple[Field, ...]:
        if self._fields is None:
            self._fields = tuple(iterate(self._content))
        return self._fields

    @property
    def root(self) -> Part:
        if self._root is None:
            self._root = scan(self._content)
        return self._root

    def splice(self, start: int, end: int, octets: bytes) -> None:
        """Put other octets in the place of content[start:end]. Raises LimitReached."""
        self._moves.append((start, end, len(octets)))
        self._growth += max(0, len(octets) - (end - start))
        if self.edits > self._limits.edits:
            raise LimitReached(f"the script changes the message more than {self._limits.edits} times")
        if self._growth > self._limits.content_growth:
            raise LimitReached(f"the script makes the message more than {self._limits.content_growth} octets larger")
        self._content = self._content[:start] + octets + self._content[end:]
        self._fields = None
        self._root = None

    def moved(self, start: int, end: int, edits: int) -> tuple[int, int] | None:
        """Where content[start:end] is now that was there after so many edits; None when it was replaced."""
        for from_, to, length in self._moves[edits:]:
            if to <= start:
                start += length - (to - from_)
                end += length - (to - from_)
            elif from_ < end and from_ <= start:
                return None
            elif from_ < end:
                end += length - (to - from_)
        return start, end

    @property
    def whole(self) -> Place:
        """The message as a place."""
        return Place(self.root, self._content, self.edits)

    @property
    def head_end(self) -> int:
        return header_end(self._content, 0, len(self._content))


def readable(field: Field) -> str:
    """The value of a field as text: unfolded, decoded (RFC 5228 2.4.2.2)."""
    return decode_text(field.value).strip(" \t")


def leaves(part: Part) -> Iterator[Part]:
    """The parts that hold content, in their order, those of messages inside too."""
    return (one for one in part.walk() if not one.children and one.message is None)
