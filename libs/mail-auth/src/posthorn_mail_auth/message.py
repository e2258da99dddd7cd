"""A message as signatures see it: raw header fields from top to bottom, and the body as it stands.

Line ends are CRLF, as SMTP carries them. Nothing is decoded, and the body is not copied.
"""

from dataclasses import dataclass

from posthorn_mail_format.headers import header_end, iterate


@dataclass(frozen=True, slots=True)
class RawField:
    """One header field: its name in lower case, and all its octets with the last CRLF."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands behind the colon, folds and last line end included."""
        return self.raw.partition(b":")[2]


@dataclass(frozen=True, slots=True)
class Message:
    """Fields in their order, at most 10,000; the body behind the empty line."""

    fields: tuple[RawField, ...]
    body: memoryview

    def named(self, name: bytes) -> list[RawField]:
        """The fields of that (lower-case) name, from top to bottom."""
        return [field for field in self.fields if field.name == name]


def split(content: bytes) -> Message:
    """Take a message apart. Never raises: what is no header section is body."""
    end = header_end(content, 0, len(content))
    fields = tuple(
        RawField(field.name.lower(), _ended(content[field.start : field.end])) for field in iterate(content, 0, end)
    )
    return Message(fields, memoryview(content)[end:])


def _ended(raw: bytes) -> bytes:
    """A last field without its line end, in a message without a body, gets one."""
    return raw if raw.endswith(b"\r\n") else raw.rstrip(b"\r\n") + b"\r\n"
