"""The text of a message that substring search looks at, made once when it is stored.

Everything is lower case here; needles are lowered alike (`fold`). PostgreSQL takes neither NUL nor lone surrogates, so
`clean` removes them from any text that came from a message.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from posthorn_model.mail import MessageSummary

MAX_ADDRESSES = 16_384
MAX_HEADERS = 65_536
MAX_BODY = 1_048_576
"""Longest texts kept, in characters."""


class SearchText(NamedTuple):
    """One row of message_text, in the order of its columns."""

    from_: str
    to: str
    cc: str
    bcc: str
    subject: str
    headers: str
    body: str


def clean(text: str) -> str:
    """Remove what PostgreSQL refuses in text: NUL, and surrogates that stand alone."""
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def fold(text: str) -> str:
    """The form in which texts are compared: cleaned and lower case."""
    return clean(text).lower()


def search_text(summary: MessageSummary) -> SearchText:
    """Gather the searched texts of a message. Malformed parts of the summary are searched as far as they go."""
    listing = _listing(summary.listing)
    return SearchText(
        from_=_addresses(listing.get("from")),
        to=_addresses(listing.get("to")),
        cc=_addresses(listing.get("cc")),
        bcc=_addresses(listing.get("bcc")),
        subject=fold(summary.subject),
        headers=_headers(summary.headers),
        body=fold(summary.search_text[:MAX_BODY]),
    )


def _listing(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data) if data else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _addresses(value: object) -> str:
    """One line for each address: `name <local@domain>`."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ""
    lines = []
    for entry in value:
        if isinstance(entry, Mapping):
            name = str(entry.get("name") or "").replace("<", " ").replace("\n", " ")
            lines.append(f"{name} <{entry.get('email') or ''}>".lstrip())
    return fold("\n".join(lines)[:MAX_ADDRESSES])


def _headers(raw: bytes) -> str:
    """One line for each field, unfolded (RFC 5322 2.2.3): `name:value`."""
    text = raw[:MAX_HEADERS].decode("utf-8", "replace")
    unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ").replace("\r\n", "\n")
    return fold(unfolded.strip("\n"))
