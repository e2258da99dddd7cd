"""Reading stored messages: the columns asked for, with the mailboxes each message is in. No blob is touched here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from functools import cache

from posthorn_model.flags import Flags
from posthorn_model.ids import AccountId, BlobKey, MailboxId, MessageId, Modseq, ThreadId, Uid
from posthorn_storage.database import Database, Row
from posthorn_storage.database.plans import few
from posthorn_storage.mail.flags import flags_of
from posthorn_storage.mail.runs import MESSAGES, entries, runs_of


class MessageFields(IntFlag):
    """What to read beside ids, size and dates; each is a group of columns."""

    NONE = 0
    SUMMARY = 1
    """subject, base_subject, message_id, sent_at, preview, has_attachment."""
    ENVELOPE = 2
    BODY_STRUCTURE = 4
    BODY = 8
    STRUCTURE = 16
    LISTING = 32
    HEADERS = 64
    MAILBOXES = 128
    """Mailboxes with UID and flags, and the modseq of the latest change of flags."""


_COLUMNS = {
    MessageFields.SUMMARY: "m.subject, m.base_subject, m.message_id, m.sent_at, m.preview, m.has_attachment",
    MessageFields.ENVELOPE: "m.envelope",
    MessageFields.BODY_STRUCTURE: "m.body_structure",
    MessageFields.BODY: "m.body",
    MessageFields.STRUCTURE: "m.structure",
    MessageFields.LISTING: "m.listing",
    MessageFields.HEADERS: "m.headers",
    MessageFields.MAILBOXES: "p.mailbox_ids, p.uids, p.flags, p.keywords, p.modseq",
}
_ALWAYS = "m.id, m.thread_id, m.blob_key, m.size, m.received_at, m.created_modseq"
_PLACES = """
LEFT JOIN LATERAL (
    SELECT array_agg(b.mailbox_id) AS mailbox_ids, array_agg(b.uid) AS uids, array_agg(b.flags) AS flags,
           array_agg(array_to_string(b.keywords, ' ')) AS keywords, max(b.modseq) AS modseq
    FROM mailbox_message b WHERE b.account_id = m.account_id AND b.message_id = m.id
) AS p ON true
"""


_WANTED = few("$2::bigint[]", "message_id, place", "b", numbered=True)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A stored message. What was not asked for is None (`mailboxes`: empty)."""

    id: MessageId
    thread: ThreadId
    blob: BlobKey
    size: int
    received_at: datetime
    created_modseq: Modseq
    modseq: Modseq
    """Of the latest change of its flags in any mailbox (with MAILBOXES), else of its creation."""
    subject: str | None = None
    base_subject: str | None = None
    message_id: str | None = None
    sent_at: datetime | None = None
    preview: str | None = None
    has_attachment: bool | None = None
    envelope: bytes | None = None
    body_structure: bytes | None = None
    body: bytes | None = None
    structure: bytes | None = None
    listing: bytes | None = None
    headers: bytes | None = None
    mailboxes: dict[MailboxId, tuple[Uid, Flags]] | None = None


@dataclass(frozen=True, slots=True)
class PlacedMessage:
    """A stored message as one mailbox shows it."""

    uid: Uid
    flags: Flags
    modseq: Modseq
    message: StoredMessage
    saved_at: datetime | None
    """When it came into the mailbox (RFC 8514); None for messages of before that was kept."""


@cache
def _by_id(fields: MessageFields) -> str:
    return f"""
SELECT {_selected(fields)}
FROM {_WANTED} {MESSAGES} {_PLACES if fields & MessageFields.MAILBOXES else ""}
ORDER BY b.place
"""  # noqa: S608


@cache
def _by_uid(fields: MessageFields) -> str:
    return f"""
SELECT b.uid AS own_uid, b.flags AS own_flags, b.keywords AS own_keywords, b.modseq AS own_modseq,
       b.saved_at AS own_saved_at,
       {_selected(fields)}
FROM {entries("uid, message_id, flags, keywords, modseq, saved_at")} {MESSAGES}
{_PLACES if fields & MessageFields.MAILBOXES else ""}
ORDER BY b.uid
"""  # noqa: S608


def _selected(fields: MessageFields) -> str:
    return ", ".join([_ALWAYS, *(columns for field, columns in _COLUMNS.items() if field & fields)])


async def by_ids(
    database: Database, account: AccountId, ids: Sequence[MessageId], fields: MessageFields
) -> list[StoredMessage]:
    """Messages in the order of `ids`; those not there are left out. The caller bounds how many it asks for."""
    rows = await database.fetch(_by_id(fields), account, ids)
    return [_stored(row, fields) for row in rows]


async def by_uids(
    database: Database, account: AccountId, mailbox: MailboxId, uids: Sequence[int], fields: MessageFields
) -> list[PlacedMessage]:
    """Messages of one mailbox by ascending UID; those not there are left out. The caller bounds how many."""
    rows = await database.fetch(_by_uid(fields), account, mailbox, *runs_of(uids))
    return [
        PlacedMessage(
            row["own_uid"],
            flags_of(row["own_flags"], tuple(row["own_keywords"])),
            row["own_modseq"],
            _stored(row, fields),
            row["own_saved_at"],
        )
        for row in rows
    ]


def _stored(row: Row, fields: MessageFields) -> StoredMessage:
    found = dict(row)
    for name in ("own_uid", "own_flags", "own_keywords", "own_modseq", "own_saved_at"):
        found.pop(name, None)
    modseq = found["created_modseq"]
    if fields & MessageFields.MAILBOXES:
        boxes, uids, flags, words = (found.pop(name) or () for name in ("mailbox_ids", "uids", "flags", "keywords"))
        modseq = max(modseq, found.pop("modseq") or 0)
        found["mailboxes"] = {
            box: (uid, flags_of(system, tuple(text.split())))
            for box, uid, system, text in zip(boxes, uids, flags, words, strict=True)
        }
    return StoredMessage(thread=found.pop("thread_id"), blob=found.pop("blob_key"), modseq=modseq, **found)
