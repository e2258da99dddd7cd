"""A message as signatures see it: raw header fields from top to bottom, and the body as it stands.

Line ends are CRLF, as SMTP carries them. Nothing is decoded, and the body is not copied.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from posthorn_mail_format.headers import header_end, iterate


class RawField(NamedTuple):
    """One header field: its name in lower case, and all its octets with the last CRLF.

    A tuple, since every message has dozens of them.
    """

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands behind the colon, folds and last line end included."""
        return self.raw.partition(b":")[2]


class Body(Protocol):
    """The octets behind the empty line, in memory or elsewhere; read in pieces, also by several threads."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, size: int) -> bytes:
        """Up to `size` octets from `start` on, fewer at the end."""
        ...


@dataclass(frozen=True, slots=True)
class HeldBody:
    """A body in memory."""

    octets: memoryview

    @property
    def size(self) -> int:
        return len(self.octets)

    def read(self, start: int, size: int) -> bytes:
        """Up to `size` octets from `start` on, fewer at the end."""
        return bytes(self.octets[start : start + size])


@dataclass(frozen=True, slots=True)
class Message:
    """Fields in their order, at most 10,000; the body behind the empty line."""

    fields: tuple[RawField, ...]
    body: Body

    def named(self, name: bytes) -> list[RawField]:
        """The fields of that (lower-case) name, from top to bottom."""
        return [field for field in self.fields if field.name == name]


def split(content: bytes) -> Message:
    """Take a message apart. Never raises: what is no header section is body."""
    end = header_end(content, 0, len(content))
    return Message(fields_of(content[:end]), HeldBody(memoryview(content)[end:]))


def fields_of(head: bytes) -> tuple[RawField, ...]:
    """The fields of a header section, with or without the empty line behind it."""
    return tuple(RawField(field.name.lower(), _ended(head[field.start : field.end])) for field in iterate(head))


def _ended(raw: bytes) -> bytes:
    """A last field without its line end, in a message without a body, gets one."""
    return raw if raw.endswith(b"\r\n") else raw.rstrip(b"\r\n") + b"\r\n"
