"""All that listings need of a message in one go: what is stored beside it at ingest.

Every field is bounded, holds no NUL and no lone surrogate, whatever the message holds.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from posthorn_mail_format import imap_view, jmap_view, listing
from posthorn_mail_format.addresses import parse_addresses
from posthorn_mail_format.attachments import is_searched
from posthorn_mail_format.dates import parse_date
from posthorn_mail_format.headers import Field, find_all, iterate, with_crlf
from posthorn_mail_format.octets import Octets
from posthorn_mail_format.part import Part
from posthorn_mail_format.scan import scan
from posthorn_mail_format.search_texts import search_texts
from posthorn_mail_format.subject import base_subject
from posthorn_mail_format.text import plain_text
from posthorn_model.mail import MessageSummary

MAX_SUBJECT = 4096
MAX_REFERENCES = 100
MAX_SEARCH_TEXT = 131_072
"""Characters of body text kept for substring search."""
MAX_KEPT_HEADERS = 32_768

KEPT_HEADERS = frozenset({
    "date", "from", "sender", "reply-to", "to", "cc", "bcc", "subject", "message-id", "in-reply-to", "references",
    "mime-version", "content-type", "content-transfer-encoding", "content-language", "newsgroups", "priority",
    "x-priority", "importance", "x-mailer", "user-agent", "list-id", "list-post", "list-unsubscribe",
    "list-unsubscribe-post", "list-help", "list-archive", "return-path", "delivered-to", "x-spam-flag",
    "x-spam-status", "x-spam-score", "autocrypt", "disposition-notification-to", "auto-submitted", "precedence",
    "resent-from", "resent-to", "resent-date", "x-uniform-type-identifier", "x-universally-unique-identifier",
})  # fmt: skip
"""Lower-case names of the fields in MessageSummary.headers: a request for these alone needs no blob."""


def summarize(data: Octets) -> MessageSummary:
    """Return the summary of a whole message. Never raises, whatever the bytes.

    `headers` is b"" when the kept fields exceed 32 KiB (or there are none): then they must be read from the message.
    """
    root = scan(data)
    fields = list(iterate(data, root.header_start, root.body_start))
    parse = cache(parse_addresses)
    date = cache(parse_date)
    listed = listing.build(fields, parse, date)
    texts = readable_texts(data, root, MAX_SEARCH_TEXT)
    lists = jmap_view.read_body(root)
    body, bodystructure = imap_view.body_views(data, root)
    subject = (listed["subject"] or "")[:MAX_SUBJECT]
    dates = find_all(fields, "date")
    message_ids = listed["messageId"] or [None]
    summary = MessageSummary(
        size=len(data),
        message_id=message_ids[0],
        in_reply_to=tuple((listed["inReplyTo"] or ())[:MAX_REFERENCES]),
        references=_references(listed),
        subject=subject,
        base_subject=base_subject(subject),
        sent_at=date(dates[-1]) if dates else None,
        preview=jmap_view.preview(data, lists, texts),
        has_attachment=lists.has_attachment,
        envelope=imap_view.envelope(fields, parse),
        body_structure=bodystructure,
        body=body,
        structure=root.dump(),
        listing=listing.dump(listed),
        headers=kept_headers(data, fields),
        search_text="\n".join(texts.values())[:MAX_SEARCH_TEXT],
    )
    return replace(summary, texts=search_texts(summary, listed))


def kept_headers(data: Octets, fields: Sequence[Field]) -> bytes:
    """Return the fields named in KEPT_HEADERS as in the message, with CRLF, or b"" when they exceed 32 KiB."""
    kept = b"".join(with_crlf(data[field.start : field.end]) for field in fields if _is_kept(field))
    return kept if len(kept) <= MAX_KEPT_HEADERS else b""


def search_text(data: Octets, root: Part, limit: int = MAX_SEARCH_TEXT) -> str:
    """Return the readable text of all text parts, those of messages inside included, at most `limit` characters."""
    return "\n".join(readable_texts(data, root, limit).values())[:limit]


def readable_texts(data: Octets, root: Part, limit: int) -> dict[int, str]:
    """Return the readable text of each text part by its body's offset, in the order of the message.

    Only as many octets are decoded as `limit` characters in all may need: for markup four times as many as are left.
    """
    texts: dict[int, str] = {}
    left = limit
    for part in root.walk():
        if left <= 0:
            break
        if is_searched(part):
            text = plain_text(data, part, max(4 * left, jmap_view.PREVIEW_OCTETS))
            texts[part.body_start] = text
            left -= len(text) + 1
    return texts


def _is_kept(field: Field) -> bool:
    return field.name.lower().decode("ascii", "replace") in KEPT_HEADERS


def _references(listed: dict[str, Any]) -> tuple[str, ...]:
    """The first and the last 99 of very long References: the root of the thread and its nearest messages."""
    found = listed["references"] or []
    return tuple(found if len(found) <= MAX_REFERENCES else [found[0], *found[1 - MAX_REFERENCES :]])
