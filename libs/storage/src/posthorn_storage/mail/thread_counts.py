"""Counts that only JMAP shows of mailboxes: their threads, and what is unread in them (RFC 8621 2).

They are counted when asked for and kept nowhere: a message that joins a thread would touch every mailbox of it.
"""

from dataclasses import dataclass

from posthorn_model.ids import AccountId, MailboxId
from posthorn_storage.database import Database

# Unread is neither $seen nor $draft. A thread counts as unread in Trash for what lies there alone, and elsewhere for
# what lies outside Trash alone (RFC 8621 2, unreadThreads).
COUNT = """
WITH entries AS (
    SELECT b.mailbox_id, m.thread_id, b.flags & 17 = 0 AS unread, coalesce(box.role = 'trash', false) AS in_trash
    FROM mailbox_message b
    JOIN message m ON m.account_id = b.account_id AND m.id = b.message_id
    JOIN mailbox box ON box.account_id = b.account_id AND box.id = b.mailbox_id
    WHERE b.account_id = $1
), threads AS (
    SELECT thread_id, bool_or(unread AND in_trash) AS in_trash, bool_or(unread AND NOT in_trash) AS outside
    FROM entries GROUP BY thread_id
)
SELECT e.mailbox_id, count(DISTINCT e.thread_id) AS total,
       count(DISTINCT e.thread_id) FILTER (WHERE CASE WHEN e.in_trash THEN t.in_trash ELSE t.outside END) AS unread,
       count(*) FILTER (WHERE e.unread) AS unread_messages
FROM entries e JOIN threads t USING (thread_id)
GROUP BY e.mailbox_id
"""


@dataclass(frozen=True, slots=True)
class ThreadCounts:
    """Of one mailbox: its threads, those unread, and its unread messages (drafts are never unread)."""

    total: int = 0
    unread: int = 0
    unread_messages: int = 0


async def thread_counts(database: Database, account: AccountId) -> dict[MailboxId, ThreadCounts]:
    """The counts of every mailbox that holds anything."""
    rows = await database.fetch(COUNT, account)
    return {row["mailbox_id"]: ThreadCounts(row["total"], row["unread"], row["unread_messages"]) for row in rows}
