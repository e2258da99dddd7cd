"""Header fields in the forms of JMAP (RFC 8621 4.1.2, 4.1.3), and the stored listing of the convenience ones.

Each form takes the raw value of a field (from after its colon) and never raises; what cannot be parsed is null or an
empty list, as RFC 8621 says.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from posthorn_mail_format.addresses import Address, Group, Parse, flatten, parse_addresses
from posthorn_mail_format.charsets import clean
from posthorn_mail_format.dates import parse_date
from posthorn_mail_format.encoded_words import text_of
from posthorn_mail_format.headers import decode_text, text

MAX_VALUE = 65_536
MAX_IDS = 1000
MAX_ID = 998

_MESSAGE_ID = re.compile(r"<([^<>]{1,2000})>")
_BARE_WORD = re.compile(r"[^\s<>,;]+")
_URL = re.compile(r"<([^<>]{1,8000})>")
_SPACES = re.compile(r"\s+")
_COMMENT = re.compile(r"\([^()<>]*+\)")
_BROKEN_END = re.compile(r"(?<!\r)\r*\n")
_NORMALIZED_AT_ONCE = 2048
"""Characters: Python sorts a run of combining marks in quadratic time, so that a long text is taken in pieces."""

LISTED = {
    "messageId": ("message-id", "ids"),
    "inReplyTo": ("in-reply-to", "ids"),
    "references": ("references", "ids"),
    "sender": ("sender", "addresses"),
    "from": ("from", "addresses"),
    "to": ("to", "addresses"),
    "cc": ("cc", "addresses"),
    "bcc": ("bcc", "addresses"),
    "replyTo": ("reply-to", "addresses"),
    "subject": ("subject", "text"),
    "sentAt": ("date", "date"),
}
"""JMAP property to (field name, form); RFC 8621 4.1.3."""
_LISTED = tuple((key, name.encode(), form) for key, (name, form) in LISTED.items())
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
"""Made once: json.dumps with settings of its own makes one for each message."""


def as_raw(value: bytes) -> str:
    """The raw value as text: octets that are not UTF-8 and NUL become U+FFFD."""
    return clean(value.decode("utf-8", "replace"))


def as_text(value: bytes) -> str:
    """The value unfolded, encoded words decoded, in NFC, without white space around it (RFC 8621 4.1.2.2)."""
    line = decode_text(value[:MAX_VALUE])
    if "\n" in line:
        line = _BROKEN_END.sub(" ", line)
    if not line.isascii():
        pieces = (line[start : start + _NORMALIZED_AT_ONCE] for start in range(0, len(line), _NORMALIZED_AT_ONCE))
        line = "".join(unicodedata.normalize("NFC", piece) for piece in pieces)
    return line.strip()


def as_addresses(value: bytes) -> list[dict[str, Any]]:
    """All addresses as [{"name", "email"}], members of groups included (4.1.2.3)."""
    return [_address(address) for address in flatten(parse_addresses(value))]


def as_grouped_addresses(value: bytes) -> list[dict[str, Any]]:
    """Groups as [{"name", "addresses"}]; runs of addresses outside groups have the name null (4.1.2.4)."""
    groups: list[dict[str, Any]] = []
    for entry in parse_addresses(value):
        if isinstance(entry, Group):
            groups.append({"name": entry.display_name, "addresses": [_address(address) for address in entry.members]})
            continue
        if not groups or groups[-1]["name"] is not None:
            groups.append({"name": None, "addresses": []})
        groups[-1]["addresses"].append(_address(entry))
    return groups


def as_message_ids(value: bytes) -> list[str] | None:
    """Message ids without angle brackets, at most 1,000; null when there are none (4.1.2.5)."""
    line = text(value[:MAX_VALUE])
    found = [_SPACES.sub("", text_of(inner)) for inner in _MESSAGE_ID.findall(line)]
    if not found:
        # Some senders leave the brackets out.
        words = _BARE_WORD.findall(_COMMENT.sub("", line))
        found = [text_of(word) for word in words if "@" in word[1:-1]]
    return [one for one in found if 0 < len(one) <= MAX_ID][:MAX_IDS] or None


def as_date(value: bytes) -> str | None:
    """The date-time as RFC 3339 with its own offset; null when it is none (4.1.2.6)."""
    return _shown(parse_date(value))


def as_urls(value: bytes) -> list[str] | None:
    """The URLs of a List-* field (RFC 2369) without angle brackets; null when there are none (4.1.2.7)."""
    found = [_SPACES.sub("", text_of(inner)) for inner in _URL.findall(text(value[:MAX_VALUE]))]
    return found or None


FORMS: dict[str, Callable[[bytes], Any]] = {
    "asRaw": as_raw,
    "asText": as_text,
    "asAddresses": as_addresses,
    "asGroupedAddresses": as_grouped_addresses,
    "asMessageIds": as_message_ids,
    "asDate": as_date,
    "asURLs": as_urls,
}
"""The parsed forms by their names in JMAP."""


def build(
    values: Mapping[bytes, Sequence[bytes]],
    parse: Parse = parse_addresses,
    date: Callable[[bytes], datetime | None] = parse_date,
) -> dict[str, Any]:
    """Return the convenience properties of a message's header fields by name; an absent field is null.

    The last field of a repeated name counts (RFC 8621 4.1.3). `parse` and `date` are parse_addresses and parse_date, or
    such that remember.
    """
    forms: dict[str, Callable[[bytes], Any]] = {
        "ids": as_message_ids,
        "addresses": lambda value: [_address(address) for address in flatten(parse(value))],
        "text": as_text,
        "date": lambda value: _shown(date(value)),
    }
    return {key: forms[form](values[name][-1]) if name in values else None for key, name, form in _LISTED}


def dump(listing: dict[str, Any]) -> bytes:
    """Return the stored form of a listing: compact JSON in UTF-8, null properties left out."""
    present = {key: value for key, value in listing.items() if value is not None}
    return _ENCODER.encode(present).encode()


def load(stored: bytes) -> dict[str, Any]:
    """Return a listing with every convenience property (null when absent). Raises ValueError for other bytes."""
    present = json.loads(stored)
    if not isinstance(present, dict):
        raise ValueError("not a stored listing")
    return {key: present.get(key) for key in LISTED}


def format_moment(moment: datetime) -> str:
    """Return an aware datetime as RFC 3339 with seconds; UTC is "Z"."""
    if moment.tzinfo is UTC or not moment.utcoffset():
        return moment.isoformat()[:19] + "Z"
    return moment.isoformat(timespec="seconds")


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else format_moment(moment)


def _address(address: Address) -> dict[str, Any]:
    return {"name": address.display_name, "email": address.email}
