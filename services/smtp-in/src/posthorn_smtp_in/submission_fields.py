"""What a submission server may mend in the header section (RFC 6409 8): adds Date and Message-ID, drops Bcc."""

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from uuid import UUID

_FIELD = re.compile(rb"(?:^|(?<=\r\n))([!-9;-~]+)[ \t]*:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
_HIDDEN = frozenset({b"bcc", b"return-path"})


def mend(head: bytes, *, hostname: str, delivery: UUID, at: float) -> bytes:
    """Mend a header section (with the empty line that ends it, if it has one).

    Fields that stay are byte for byte as they were; new ones stand in front. Bcc is dropped (RFC 5322 3.6.3), as is a
    Return-Path, which only final delivery may write. A body without header gets an empty line before it.
    """
    names = {match[1].lower() for match in _FIELD.finditer(head)}
    added = b""
    if b"message-id" not in names:
        added += f"Message-ID: <{delivery}@{hostname}>\r\n".encode()
    if b"date" not in names:
        added += f"Date: {format_datetime(datetime.fromtimestamp(at, UTC))}\r\n".encode()
    kept = _FIELD.sub(_without_hidden, head)
    if not names and kept and not kept.startswith(b"\r\n"):
        kept = b"\r\n" + kept
    return added + kept


def _without_hidden(field: re.Match[bytes]) -> bytes:
    return b"" if field[1].lower() in _HIDDEN else field[0]
