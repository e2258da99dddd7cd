"""What messages of one mailbox are sorted and threaded by (RFC 5256), from the columns made when they came.

No content is read, and of the wide rows only what was asked for. The caller asks in pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from functools import cache

from posthorn_model.ids import AccountId, MailboxId, Uid
from posthorn_storage.database import Database
from posthorn_storage.mail.runs import MESSAGES, entries, runs_of


class SortFields(IntFlag):
    """Which facts to read beside UID, size and dates; the others are None."""

    NONE = 0
    ENVELOPE = 1
    SUBJECT = 2
    REFERENCES = 4


_COLUMNS = (
    (SortFields.ENVELOPE, "m.envelope", "NULL::bytea"),
    (SortFields.SUBJECT, "m.base_subject", "NULL::text"),
    (SortFields.REFERENCES, "m.subject", "NULL::text"),
    (SortFields.REFERENCES, "m.headers", "NULL::bytea"),
    (SortFields.REFERENCES, "CASE WHEN m.headers = '' THEN m.listing END", "NULL::bytea"),
)


@dataclass(frozen=True, slots=True)
class SortFacts:
    """One message of the mailbox."""

    uid: Uid
    size: int
    received_at: datetime
    sent_at: datetime
    """That of the Date field; without a readable one, when it was received (RFC 5256 2.2)."""
    envelope: bytes | None
    base_subject: str | None
    subject: str | None
    headers: bytes | None
    """The kept header fields as in the message; b"" when they were too long, and then there is a `listing`."""
    listing: bytes | None


@cache
def _statement(fields: SortFields) -> str:
    chosen = ", ".join(column if field & fields else absent for field, column, absent in _COLUMNS)
    return f"""
SELECT b.uid, b.size, m.received_at, coalesce(m.sent_at, m.received_at), {chosen}
FROM {entries("uid, message_id, size")} {MESSAGES}
ORDER BY b.uid
"""  # noqa: S608  constants only


async def sort_facts(
    database: Database, account: AccountId, mailbox: MailboxId, uids: Sequence[int], fields: SortFields
) -> list[SortFacts]:
    """Facts of messages by ascending UID; those not there are left out. The caller bounds how many."""
    rows = await database.fetch(_statement(fields), account, mailbox, *runs_of(uids))
    return [SortFacts(*row) for row in rows]
