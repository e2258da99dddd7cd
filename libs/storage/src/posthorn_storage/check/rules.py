"""What must always be true of an account's rows: each rule a statement that finds what breaks it.

A statement takes the ids of accounts ($1) and returns `account_id` and columns that say what is wrong; none when all is
well. All statements of one look run in one snapshot, so that changes made meanwhile are no findings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from posthorn_model.ids import AccountId


@dataclass(frozen=True, slots=True)
class Rule:
    """`name` is short and stays; `means` says what is wrong when the statement returns a row.

    `advice` is for people, where posthorn_storage.check.repairs has nothing or could not help.
    """

    name: str
    means: str
    statement: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that breaks a rule; `account` is None where none is concerned."""

    rule: Rule
    account: AccountId | None
    where: Mapping[str, Any]
    """Ids and figures, by the names of the rule's columns."""


ACCOUNT_RULES: Final = (
    Rule(
        "mailbox-counts",
        "the counts of a mailbox are not those of its messages",
        """
        SELECT m.account_id, m.id AS mailbox, m.total, m.unseen, m.deleted, m.size,
               c.n AS total_found, c.u AS unseen_found, c.d AS deleted_found, c.s AS size_found
        FROM mailbox m CROSS JOIN LATERAL (
            SELECT count(*) AS n, count(*) FILTER (WHERE flags & 1 = 0) AS u,
                   count(*) FILTER (WHERE flags & 8 <> 0) AS d, coalesce(sum(size), 0)::bigint AS s
            FROM mailbox_message b WHERE b.account_id = m.account_id AND b.mailbox_id = m.id) AS c
        WHERE m.account_id = ANY ($1) AND (m.total, m.unseen, m.deleted, m.size) <> (c.n, c.u, c.d, c.s)
        """,
    ),
    Rule(
        "account-counts",
        "what an account has used is not the sum of its messages and items",
        """
        SELECT c.account_id, c.used_bytes, c.used_messages, s.bytes AS bytes_found, s.messages AS messages_found
        FROM account_counter c CROSS JOIN LATERAL (
            SELECT (SELECT coalesce(sum(size), 0)::bigint FROM message m WHERE m.account_id = c.account_id)
                   + (SELECT coalesce(sum(octet_length(content)), 0) FROM item i WHERE i.account_id = c.account_id)
                   AS bytes,
                   (SELECT count(*) FROM message m WHERE m.account_id = c.account_id) AS messages) AS s
        WHERE c.account_id = ANY ($1) AND (c.used_bytes, c.used_messages) <> (s.bytes, s.messages)
        """,
    ),
    Rule(
        "uid-order",
        "a UID is not below its mailbox's UIDNEXT, so it could be given again (design law 4)",
        """
        SELECT b.account_id, b.mailbox_id AS mailbox, b.uid, m.uidnext
        FROM mailbox_message b JOIN mailbox m ON m.account_id = b.account_id AND m.id = b.mailbox_id
        WHERE b.account_id = ANY ($1) AND b.uid >= m.uidnext
        """,
    ),
    Rule(
        "modseq-order",
        "something has a modseq above its mailbox's or its account's, so a reader will miss the next change (law 4)",
        """
        SELECT m.account_id, m.id AS mailbox, m.modseq, c.modseq AS account_modseq, b.latest AS message_modseq
        FROM mailbox m JOIN account_counter c ON c.account_id = m.account_id CROSS JOIN LATERAL (
            SELECT coalesce(max(modseq), 0) AS latest FROM mailbox_message b
            WHERE b.account_id = m.account_id AND b.mailbox_id = m.id) AS b
        WHERE m.account_id = ANY ($1) AND (m.modseq > c.modseq OR b.latest > m.modseq)
        UNION ALL
        SELECT c.account_id, 0, l.latest, c.modseq, 0 FROM account_counter c CROSS JOIN LATERAL (
            SELECT max(modseq) AS latest FROM change_log l WHERE l.account_id = c.account_id) AS l
        WHERE c.account_id = ANY ($1) AND l.latest > c.modseq
        """,
    ),
    Rule(
        "untold-message",
        "a message came after the horizon of the change log, which does not tell of it (law 4)",
        """
        SELECT m.account_id, m.id AS message, m.created_modseq, c.horizon
        FROM message m JOIN account_counter c ON c.account_id = m.account_id
        WHERE m.account_id = ANY ($1) AND m.created_modseq > c.horizon AND NOT EXISTS (
            SELECT FROM change_log l WHERE l.account_id = m.account_id AND l.kind = 2 AND l.modseq = m.created_modseq
                AND l.object_id = m.id AND l.op = 1)
        """,
    ),
    Rule(
        "homeless-message",
        "a message is in no mailbox",
        """
        SELECT m.account_id, m.id AS message FROM message m WHERE m.account_id = ANY ($1) AND NOT EXISTS (
            SELECT FROM mailbox_message b WHERE b.account_id = m.account_id AND b.message_id = m.id)
        """,
    ),
    Rule(
        "entry-without-message",
        "an entry of a mailbox names a message or mailbox that is not there, or gives it another size",
        """
        SELECT b.account_id, b.mailbox_id AS mailbox, b.uid, b.message_id AS message
        FROM mailbox_message b
        LEFT JOIN message m ON m.account_id = b.account_id AND m.id = b.message_id
        LEFT JOIN mailbox x ON x.account_id = b.account_id AND x.id = b.mailbox_id
        WHERE b.account_id = ANY ($1) AND (m.id IS NULL OR x.id IS NULL OR m.size <> b.size)
        """,
    ),
    Rule(
        "mailbox-tree",
        "a mailbox lies in one that is not there, or in itself",
        """
        SELECT m.account_id, m.id AS mailbox, m.parent_id FROM mailbox m
        WHERE m.account_id = ANY ($1) AND m.parent_id <> 0 AND (m.account_id, m.id) NOT IN (
            WITH RECURSIVE tree AS (
                SELECT account_id, id FROM mailbox WHERE account_id = ANY ($1) AND parent_id = 0
                UNION SELECT c.account_id, c.id
                FROM mailbox c JOIN tree t ON c.account_id = t.account_id AND c.parent_id = t.id)
            SELECT account_id, id FROM tree)
        """,
    ),
    Rule(
        "search-text",
        "a message has no text to search in, or a text no message",
        """
        SELECT coalesce(m.account_id, t.account_id) AS account_id, m.id AS message, t.message_id AS text
        FROM (SELECT account_id, id FROM message WHERE account_id = ANY ($1)) m
        FULL JOIN (SELECT account_id, message_id FROM message_text WHERE account_id = ANY ($1)) t
            ON m.account_id = t.account_id AND m.id = t.message_id
        WHERE m.id IS NULL OR t.message_id IS NULL
        """,
    ),
    Rule(
        "search-index",
        "a message is neither in the search index nor about to be, or the index has words of none",
        """
        SELECT m.account_id, m.id AS message FROM message m WHERE m.account_id = ANY ($1)
            AND NOT EXISTS (SELECT FROM message_index i WHERE i.account_id = m.account_id AND i.message_id = m.id)
            AND NOT EXISTS (SELECT FROM index_task k WHERE k.account_id = m.account_id AND k.message_id = m.id)
        UNION ALL
        SELECT i.account_id, i.message_id FROM message_index i WHERE i.account_id = ANY ($1)
            AND NOT EXISTS (SELECT FROM message m WHERE m.account_id = i.account_id AND m.id = i.message_id)
        """,
    ),
    Rule(
        "thread-key",
        "a key leads to a thread without messages",
        """
        SELECT k.account_id, k.thread_id AS thread FROM thread_key k WHERE k.account_id = ANY ($1) AND NOT EXISTS (
            SELECT FROM message m WHERE m.account_id = k.account_id AND m.thread_id = k.thread_id)
        """,
    ),
    Rule(
        "message-blob",
        "a message does not hold its blob, or holds one that is not durable (law 3)",
        """
        SELECT m.account_id, m.id AS message, encode(m.blob_key, 'hex') AS blob, b.state
        FROM message m
        LEFT JOIN blob_ref r
            ON r.blob_key = m.blob_key AND r.kind = 1 AND r.account_id = m.account_id AND r.ref_id = m.id
        LEFT JOIN blob b ON b.key = m.blob_key
        WHERE m.account_id = ANY ($1) AND (r.ref_id IS NULL OR b.state IS DISTINCT FROM 1)
        """,
        "the content is gone from the database: restore the blob's row and object from a backup",
    ),
    Rule(
        "stray-reference",
        "a message that is not there holds a blob, which is then never collected",
        """
        SELECT r.account_id, r.ref_id AS message, encode(r.blob_key, 'hex') AS blob FROM blob_ref r
        WHERE r.account_id = ANY ($1) AND r.kind = 1 AND NOT EXISTS (
            SELECT FROM message m WHERE m.account_id = r.account_id AND m.id = r.ref_id AND m.blob_key = r.blob_key)
        """,
    ),
    Rule(
        "item-collection",
        "a calendar or address book item lies in no collection, or has a modseq above it (law 4)",
        """
        SELECT i.account_id, i.collection_id AS collection, i.id AS item, i.modseq
        FROM item i LEFT JOIN collection c ON c.account_id = i.account_id AND c.id = i.collection_id
        WHERE i.account_id = ANY ($1) AND (c.id IS NULL OR i.modseq > c.modseq)
        """,
        "an item whose collection is gone: restore the collection from a backup, or remove the item",
    ),
)

QUEUE_RULE: Final = Rule(
    "queue-blob",
    "a message that waits in the queue does not hold its blob, or holds one that is not durable (law 3)",
    """
    SELECT coalesce(q.account_id, 0) AS account_id, q.id AS queue_message, encode(q.blob_key, 'hex') AS blob, b.state
    FROM queue_message q
    LEFT JOIN blob_ref r ON r.blob_key = q.blob_key AND r.kind = 2 AND r.ref_id = q.id
    LEFT JOIN blob b ON b.key = q.blob_key
    WHERE q.done_at IS NULL AND (r.ref_id IS NULL OR b.state IS DISTINCT FROM 1)
    """,
    "its content is gone: restore the blob from a backup, or tell the sender that it will not arrive",
)
"""Of the whole database; takes no argument."""
