"""Messages that actions lead to, as octets: answers of vacation, notifications, and notices to a script's owner.

What they need of the world (dates, ids, addresses) is handed in; the same input gives the same octets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from posthorn_mail_format import writing
from posthorn_mail_format.dates import format_date
from posthorn_mail_format.encoded_words import decode_words
from posthorn_mail_format.headers import find, header_end, iterate, text, unfold
from posthorn_model.errors import PosthornError
from posthorn_sieve.actions import Notify, Vacation

MAX_SUBJECT = 200
MAX_REFERENCES = 20
_IMPORTANCE = {"1": "high", "2": "normal", "3": "low"}


@dataclass(frozen=True, slots=True)
class Occasion:
    """What an answer is made from: the message it answers, and who answers when."""

    content: bytes
    owner: str
    """Address of the account."""
    date: datetime
    message_id: str
    """Of the answer, without angle brackets."""


def vacation_answer(action: Vacation, occasion: Occasion) -> bytes:
    """Return the answer (RFC 5230 5)."""
    fields = tuple(iterate(occasion.content))
    subject = action.subject or f"Auto: {decode_words(text(find(fields, 'Subject') or b''))}"[:MAX_SUBJECT]
    answered = _ids(find(fields, "Message-ID"))[:1]
    references = [*_ids(find(fields, "References")), *answered][-MAX_REFERENCES:]
    headers = [
        ("From", action.sender or writing.address_value(None, occasion.owner)),
        ("To", writing.address_value(None, action.recipient)),
        ("Subject", writing.text_value(subject)),
        *_common(occasion),
        ("Auto-Submitted", "auto-replied (vacation)"),
        ("Precedence", "bulk"),
        ("X-Auto-Response-Suppress", "All"),
    ]
    if answered:
        headers.append(("In-Reply-To", writing.ids_value(answered)))
        headers.append(("References", writing.ids_value(references)))
    return _head(headers) + (_entity(action.reason) if action.mime else _text(action.reason))


def notification(action: Notify, occasion: Occasion) -> bytes:
    """Return the message of a notification by mail (RFC 5436 2.7)."""
    fields = tuple(iterate(occasion.content))
    asked = dict(action.headers)
    original = decode_words(text(find(fields, "Subject") or b""))
    subject = asked.get("subject") or action.message or original
    sender = decode_words(text(find(fields, "From") or b""))
    body = asked.get("body") or action.message or f"From: {sender}\nSubject: {original}\n"
    # RFC 5436 2.7.1: the trace fields of what is notified of, so that loops are seen.
    trace = b"".join(occasion.content[field.start : field.end] for field in fields if field.name.lower() == b"received")
    headers = [
        ("From", action.sender or writing.address_value(None, occasion.owner)),
        ("To", writing.addresses_value([{"email": recipient} for recipient in action.recipients])),
        ("Subject", writing.text_value(subject[:MAX_SUBJECT])),
        *_common(occasion),
        ("Auto-Submitted", f"auto-notified; owner-email=\"{occasion.owner}\"" if occasion.owner.isascii() else
         "auto-notified"),
        ("Importance", _IMPORTANCE.get(action.importance, "normal")),
    ]  # fmt: skip
    return writing.canonical(trace) + _head(headers) + _text(body)


def notice(subject: str, lines: Sequence[str], occasion: Occasion, *, sender: str) -> bytes:
    """Return what the server has to tell the owner of a script."""
    headers = [
        ("From", writing.address_value("Mail Delivery System", sender)),
        ("To", writing.address_value(None, occasion.owner)),
        ("Subject", writing.text_value(subject[:MAX_SUBJECT])),
        *_common(occasion),
        ("Auto-Submitted", "auto-generated"),
    ]
    return _head(headers) + _text("\n".join(lines) + "\n")


def _common(occasion: Occasion) -> list[tuple[str, str]]:
    return [
        ("Date", format_date(occasion.date)),
        ("Message-ID", writing.ids_value([occasion.message_id])),
        ("MIME-Version", "1.0"),
    ]


def _head(headers: Sequence[tuple[str, str]]) -> bytes:
    return b"".join(writing.field(name, value) for name, value in headers)


def _text(body: str) -> bytes:
    encoding, octets = writing.encode_text(body.encode("utf-8", "replace"))
    head = _head([("Content-Type", "text/plain; charset=utf-8"), ("Content-Transfer-Encoding", encoding)])
    return head + b"\r\n" + octets


def _entity(reason: str) -> bytes:
    """A MIME entity that the script wrote; only its Content-* fields are taken (RFC 5230 4.4)."""
    entity = writing.canonical(reason.encode("utf-8", "replace"))
    end = header_end(entity, 0, len(entity))
    kept = b"".join(
        entity[field.start : field.end] for field in iterate(entity) if field.name.lower().startswith(b"content-")
    )
    if kept and not kept.endswith(b"\r\n"):
        kept += b"\r\n"
    return kept + b"\r\n" + entity[end:]


def _ids(value: bytes | None) -> list[str]:
    """The message ids of a field, without angle brackets; what cannot be written again is left out."""
    found: list[str] = []
    for piece in unfold(value or b"")[:8_192].decode("ascii", "ignore").replace(">", "> ").split():
        if piece.startswith("<") and piece.endswith(">") and len(piece) < 250:
            try:
                writing.ids_value([piece[1:-1]])
            except PosthornError:
                continue
            found.append(piece[1:-1])
    return found
