"""The texts of a message that substring search looks at, made once beside its summary.

Everything is lower case here; needles are lowered alike (`fold`). PostgreSQL takes neither NUL nor lone surrogates, so
`clean` removes them from any text that came from a message.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from posthorn_mail_format.headers import decode_text
from posthorn_model.mail import MessageSummary, SearchTexts

MAX_ADDRESSES = 16_384
MAX_HEADERS = 65_536
MAX_BODY = 1_048_576
"""Longest texts kept, in characters."""


class Ids(NamedTuple):
    """The Message-IDs of a summary."""

    own: str | None
    references: tuple[str, ...]
    in_reply_to: tuple[str, ...]


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


def search_texts(summary: MessageSummary) -> SearchTexts:
    """Gather the searched texts of a message. Malformed parts of the summary are searched as far as they go."""
    ids = Ids(summary.message_id, summary.references, summary.in_reply_to)
    return gather(_listing(summary.listing), ids, summary.subject, summary.headers, summary.search_text)


def gather(listing: Mapping[str, Any], ids: Ids, subject: str, headers: bytes, body: str) -> SearchTexts:
    """The same of what a summary is made from; see there."""
    addresses = {name: _addresses(listing.get(name)) for name in ("from", "to", "cc", "bcc")}
    return SearchTexts(
        from_=addresses["from"],
        to=addresses["to"],
        cc=addresses["cc"],
        bcc=addresses["bcc"],
        subject=fold(subject),
        headers=_headers(headers, ids, {**addresses, "subject": subject}),
        body=fold(body[:MAX_BODY]),
    )


def _listing(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data) if data else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _addresses(value: object) -> str:
    """One line for each address: `name <local@domain>`."""
    if not isinstance(value, list):
        return ""
    lines = []
    for entry in value:
        if isinstance(entry, dict):
            name = str(entry.get("name") or "").replace("<", " ").replace("\n", " ")
            lines.append(f"{name} <{entry.get('email') or ''}>".lstrip())
    return fold("\n".join(lines)[:MAX_ADDRESSES])


def _headers(kept: bytes, ids: Ids, known: Mapping[str, str]) -> str:
    """One line for each field kept, unfolded and decoded (RFC 5322 2.2.3, RFC 2047): `name:value`.

    Where the fields were too long to be kept, those that are `known` otherwise stand for them.
    """
    raw = kept[:MAX_HEADERS]
    if not raw:
        named = {**known, "message-id": ids.own or "", "references": " ".join(ids.references)}
        named["in-reply-to"] = " ".join(ids.in_reply_to)
        return fold("\n".join(f"{name}:{' '.join(value.split())}" for name, value in named.items() if value))
    lines = filter(None, raw.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").splitlines())
    if b"=?" not in raw:
        return fold(b"\n".join(lines).decode("utf-8", "replace"))
    return fold("\n".join(map(_decoded, lines)))


def _decoded(line: bytes) -> str:
    if b"=?" not in line:
        return line.decode("utf-8", "replace")
    name, colon, value = line.partition(b":")
    return (name + colon).decode("utf-8", "replace") + " ".join(decode_text(value).split())
