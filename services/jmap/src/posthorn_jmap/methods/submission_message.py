"""What is sent of a submitted email, and to whom: the envelope by default, the octets without Bcc (RFC 8621 7.5)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from posthorn_mail_format.addresses import flatten, parse_addresses
from posthorn_mail_format.headers import EMPTY_LINE, Field, find, find_all, header_end, iterate

_HIDDEN = frozenset({b"bcc", b"return-path"})
_LONE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)")


@dataclass(frozen=True, slots=True)
class Head:
    """The header fields of an email that say who sends it to whom. Addresses as local@domain."""

    senders: tuple[str, ...]
    """Of Sender if there is one, else of From."""
    authors: tuple[str, ...]
    """Of From."""
    recipients: tuple[str, ...]
    """Of To, Cc and Bcc, each once."""


def head_of(raw: bytes) -> Head:
    """Read the addresses of a message."""
    fields = list(iterate(raw, 0, header_end(raw, 0, len(raw))))
    authors = _addresses(fields, "from")
    recipients = [address for name in ("to", "cc", "bcc") for address in _addresses(fields, name)]
    return Head(_addresses(fields, "sender") or authors, authors, tuple(dict.fromkeys(recipients)))


def _addresses(fields: Sequence[Field], name: str) -> tuple[str, ...]:
    found = (address for value in find_all(fields, name) for address in flatten(parse_addresses(value)))
    return tuple(address.email for address in found if address.email)


def sent(raw: bytes, *, hostname: str, at: datetime, message_id: str) -> bytes:
    """The octets to send: CRLF line ends, Bcc and Return-Path dropped, a Received field on top, and Date and
    Message-ID where they are missing (RFC 6409 8). All other fields stay byte for byte."""
    if _LONE_LINE_END.search(raw):
        raw = _LONE_LINE_END.sub(b"\r\n", raw)
    end = header_end(raw, 0, len(raw))
    fields = list(iterate(raw, 0, end))
    moment = format_datetime(at)
    pieces = [f"Received: by {hostname} (Posthorn) with HTTP;\r\n\t{moment}\r\n".encode()]
    if find(fields, "message-id") is None:
        pieces.append(f"Message-ID: <{message_id}>\r\n".encode())
    if find(fields, "date") is None:
        pieces.append(f"Date: {moment}\r\n".encode())
    pieces += [raw[field.start : field.end] for field in fields if field.name.lower() not in _HIDDEN]
    last = fields[-1].end if fields else 0
    # What ended the header: the empty line, or a line that is no field, before which one belongs.
    rest = raw[last:]
    pieces += [rest] if EMPTY_LINE.match(rest) else [b"\r\n", rest]
    return b"".join(pieces)


def needs_smtputf8(content: bytes, addresses: Iterable[str]) -> bool:
    """Whether addresses or header fields are beyond ASCII (RFC 6531)."""
    return not all(map(str.isascii, addresses)) or not content[: header_end(content, 0, len(content))].isascii()
