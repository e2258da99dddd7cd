"""All that listings need of a message in one go: what is stored beside it at ingest.

Every field is bounded, holds no NUL and no lone surrogate, whatever the message holds.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from posthorn_mail_format import imap_view, jmap_view, listing
from posthorn_mail_format.addresses import parse_addresses
from posthorn_mail_format.attachments import is_searched
from posthorn_mail_format.dates import parse_date
from posthorn_mail_format.headers import Field, by_name, iterate, with_crlf
from posthorn_mail_format.octets import Octets
from posthorn_mail_format.part import Part
from posthorn_mail_format.scan import scan
from posthorn_mail_format.search_texts import Ids, gather
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
_KEPT = frozenset(name.encode() for name in KEPT_HEADERS)

T = TypeVar("T")


class _Remembered(dict[bytes, T]):
    """Field values to what `read` makes of them, each once."""

    def __init__(self, read: Callable[[bytes], T]) -> None:
        self._read = read

    def __missing__(self, value: bytes) -> T:
        found = self[value] = self._read(value)
        return found


def summarize(data: Octets) -> MessageSummary:
    """Return the summary of a whole message. Never raises, whatever the bytes.

    `headers` is b"" when the kept fields exceed 32 KiB (or there are none): then they must be read from the message.
    """
    root = scan(data)
    fields = list(iterate(data, root.header_start, root.body_start))
    values = by_name(fields)
    parse = _Remembered(parse_addresses).__getitem__
    date = _Remembered(parse_date).__getitem__
    listed = listing.build(values, parse, date)
    texts = readable_texts(data, root, MAX_SEARCH_TEXT)
    lists = jmap_view.read_body(root)
    body, bodystructure = imap_view.body_views(data, root)
    subject = (listed["subject"] or "")[:MAX_SUBJECT]
    ids = _ids(listed)
    kept = kept_headers(data, fields)
    search_text = "\n".join(texts.values())[:MAX_SEARCH_TEXT]
    return MessageSummary(
        size=len(data),
        message_id=ids.own,
        in_reply_to=ids.in_reply_to,
        references=ids.references,
        subject=subject,
        base_subject=base_subject(subject),
        sent_at=date(values[b"date"][-1]) if b"date" in values else None,
        preview=jmap_view.preview(data, lists, texts),
        has_attachment=lists.has_attachment,
        envelope=imap_view.envelope(values, parse),
        body_structure=bodystructure,
        body=body,
        structure=root.dump(),
        listing=listing.dump(listed),
        headers=kept,
        search_text=search_text,
        texts=gather(listed, ids, subject, kept, search_text),
    )


def kept_headers(data: Octets, fields: Iterable[Field]) -> bytes:
    """Return the fields named in KEPT_HEADERS as in the message, with CRLF, or b"" when they exceed 32 KiB."""
    kept = with_crlf(b"".join([data[field.start : field.end] for field in fields if field.name.lower() in _KEPT]))
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


def _ids(listed: dict[str, Any]) -> Ids:
    """Of very long References the first and the last 99: the root of the thread and its nearest messages."""
    own, found = listed["messageId"] or (None,), listed["references"] or []
    references = found if len(found) <= MAX_REFERENCES else [found[0], *found[1 - MAX_REFERENCES :]]
    return Ids(own[0], tuple(references), tuple((listed["inReplyTo"] or ())[:MAX_REFERENCES]))
