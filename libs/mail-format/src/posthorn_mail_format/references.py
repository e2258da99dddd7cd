"""The Message-IDs of a message and of those before it, as threads are made of them (RFC 5256 3, RFC 5322 3.6.4)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from posthorn_mail_format.listing import load

MAX_ID = 998
"""Octets of one Message-ID; a longer one is none."""
MAX_REFERENCES = 256
"""Of a longer chain the first and the nearest ones count."""
_FIELD = re.compile(
    rb"^(message-id|references|in-reply-to)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE | re.MULTILINE
)
_ID = re.compile(rb"<([^<>]{1,2000})>")
_SPACE = re.compile(rb"[ \t\r\n]+")
_QUOTED = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"(?=@)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NamedIds:
    """What a message names. `references` begin with the oldest; without any they are the first of In-Reply-To."""

    own: str | None
    references: tuple[str, ...]


def named_ids(headers: bytes) -> NamedIds:
    """Read raw header fields. The last field of a repeated name counts, as elsewhere (RFC 8621 4.1.3)."""
    values = {found[1].lower(): found[2] for found in _FIELD.finditer(headers)}
    own = _ids(values.get(b"message-id", b""))
    references = _ids(values.get(b"references", b"")) or _ids(values.get(b"in-reply-to", b""))[:1]
    return NamedIds(own[0] if own else None, _bounded(references))


def listed_ids(listing: bytes) -> NamedIds:
    """Read them from a stored listing, for a message whose fields were too long to be kept. Never raises."""
    try:
        found: Mapping[str, list[str] | None] = load(listing)
    except ValueError:
        return NamedIds(None, ())
    own = found["messageId"] or ()
    return NamedIds(own[0] if own else None, _bounded(list(found["references"] or (found["inReplyTo"] or ())[:1])))


def _bounded(ids: list[str]) -> tuple[str, ...]:
    return tuple(ids if len(ids) <= MAX_REFERENCES else [ids[0], *ids[1 - MAX_REFERENCES :]])


def _ids(value: bytes) -> list[str]:
    """Those in angle brackets, without white space; a quoted left side as it would be without quotes (RFC 5256 3)."""
    found = []
    for inner in _ID.findall(value):
        text = _SPACE.sub(b"", inner)
        if text[:1] == b'"' and (quoted := _QUOTED.match(text)):
            text = _ESCAPED.sub(rb"\1", quoted[1]) + text[quoted.end() :]
        if 0 < len(text) <= MAX_ID:
            found.append(text.decode("utf-8", "surrogateescape"))
    return found
