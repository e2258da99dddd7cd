"""Columns of the messages of one mailbox as bare rows, for answers that are little more than a row written down."""

from collections.abc import Sequence
from enum import Enum
from functools import cache

from posthorn_model.ids import AccountId, MailboxId
from posthorn_storage.database import Database, Row
from posthorn_storage.mail.runs import MESSAGES, entries, runs_of


class Column(Enum):
    """What can be read, with its place: that of the message in the mailbox, or that of the message."""

    SIZE = "b.size"
    MESSAGE = "b.message_id"
    SAVED_AT = "b.saved_at"
    RECEIVED_AT = "m.received_at"
    THREAD = "m.thread_id"
    PREVIEW = "m.preview"
    ENVELOPE = "m.envelope"
    BODY = "m.body"
    BODY_STRUCTURE = "m.body_structure"
    HEADERS = "m.headers"
    """The kept header fields as in the message; b"" when they were too long to be kept."""


@cache
def _statement(columns: tuple[Column, ...]) -> str:
    messages = MESSAGES if any(column.value.startswith("m.") for column in columns) else ""
    return f"""
SELECT {", ".join(["b.uid", *(column.value for column in columns)])}
FROM {entries("uid, message_id, size, saved_at")} {messages}
ORDER BY b.uid
"""  # noqa: S608  constants only


async def columns_by_uid(
    database: Database, account: AccountId, mailbox: MailboxId, uids: Sequence[int], columns: tuple[Column, ...]
) -> list[Row]:
    """The UID and these columns by ascending UID; messages not there are left out. The caller bounds how many."""
    return await database.fetch(_statement(columns), account, mailbox, *runs_of(uids))
