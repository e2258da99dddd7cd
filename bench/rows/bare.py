"""What any mail store must ask of PostgreSQL, by bare asyncpg: the references of the storage rows.

Arrays are prepared beforehand and nothing is decided: no look for repeats, no thread joined, no quota. The rows, tables
and indexes are the same.
"""

import itertools
import uuid
from collections.abc import Sequence
from typing import Any

import asyncpg

from posthorn_model.mail import NewMessage

LOCK = """
SELECT c.account_id, c.modseq, m.id AS mailbox_id, m.uidnext
FROM account_counter c JOIN mailbox m ON m.account_id = c.account_id AND m.role = 'inbox'
WHERE c.account_id = ANY ($1::bigint[]) ORDER BY c.account_id FOR NO KEY UPDATE
"""

# $1 accounts, $2 mailboxes, $3 ids, $4 modseqs, $5 UIDs, $6 the rest of the columns of a message and its parts.
STORE = """
WITH new AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[],
        $8::bigint[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::bytea[], $14::bytea[], $15::bytea[],
        $16::bytea[], $17::bytea[], $18::text[], $19::bytea[], $20::bytea[], $21::bytea[])
    AS n (account_id, mailbox_id, id, modseq, uid, blob_key, inline, size, message_id, subject, preview, envelope,
        body_structure, body, structure, listing, headers, words, key, delivery, digest)
), blobs AS (
    INSERT INTO blob (key, size, state, encoding, inline) SELECT blob_key, size, 1, 1, inline FROM new
), messages AS (
    INSERT INTO message (account_id, id, thread_id, blob_key, size, received_at, created_modseq, has_attachment,
        message_id, subject, base_subject, preview, envelope, body_structure, body, structure, listing, headers)
    SELECT account_id, id, id, blob_key, size, now(), modseq, false, message_id, subject, subject, preview, envelope,
        body_structure, body, structure, listing, headers FROM new
), texts AS (
    INSERT INTO message_text (account_id, message_id, "from", "to", cc, bcc, subject, headers, body)
    SELECT account_id, id, preview, '', '', '', subject, preview, words FROM new
), keys AS (
    INSERT INTO thread_key (account_id, key, thread_id) SELECT account_id, key, id FROM new
), refs AS (
    INSERT INTO blob_ref (blob_key, kind, account_id, ref_id) SELECT blob_key, 1, account_id, id FROM new
), seen AS (
    INSERT INTO delivery_seen (account_id, key, message_id)
    SELECT account_id, unnest(ARRAY[delivery, digest]), id FROM new
), places AS (
    INSERT INTO mailbox_message (account_id, mailbox_id, uid, message_id, modseq, size, flags)
    SELECT account_id, mailbox_id, uid, id, modseq, size, 0 FROM new
), counted AS (
    SELECT account_id, mailbox_id, max(modseq) AS modseq, count(*) AS total, sum(size) AS size FROM new
    GROUP BY account_id, mailbox_id
), counters AS (
    UPDATE account_counter c SET modseq = n.modseq, used_bytes = used_bytes + n.size,
        used_messages = used_messages + n.total
    FROM counted n WHERE c.account_id = n.account_id
), boxes AS (
    UPDATE mailbox m SET total = m.total + n.total, unseen = m.unseen + n.total, size = m.size + n.size,
        uidnext = uidnext + n.total, modseq = n.modseq
    FROM counted n WHERE m.account_id = n.account_id AND m.id = n.mailbox_id
)
INSERT INTO change_log (account_id, kind, modseq, object_id, op)
SELECT account_id, kind, modseq, id, 1 FROM new, unnest(ARRAY[2, 3]) AS kind
UNION ALL SELECT account_id, 1, modseq, mailbox_id, 4 FROM counted
"""

_ids = itertools.count(1 << 40)


def columns(new: Sequence[NewMessage]) -> list[list[Any]]:
    """The arrays of STORE from $6 on."""
    rows = [
        (
            one.blob.key,
            one.blob.inline,
            one.summary.size,
            one.summary.message_id,
            one.summary.subject,
            one.summary.preview,
            one.summary.envelope,
            one.summary.body_structure,
            one.summary.body,
            one.summary.structure,
            one.summary.listing,
            one.summary.headers,
            one.summary.search_text.lower(),
            uuid.uuid4().bytes,
            b"i" + uuid.uuid4().bytes,
            b"d" + (one.dedupe or b""),
        )
        for one in new
    ]
    return [list(column) for column in zip(*rows, strict=True)]


async def store(connection: asyncpg.Connection, new: Sequence[NewMessage], prepared: list[list[Any]]) -> None:
    """One transaction: lock the counters, then one statement for all rows."""
    async with connection.transaction():
        accounts = [one.account for one in new]
        known = {row["account_id"]: row for row in await connection.fetch(LOCK, accounts)}
        taken = dict.fromkeys(known, 0)
        boxes, ids, modseqs, uids = [], [], [], []
        for account in accounts:
            row = known[account]
            boxes.append(row["mailbox_id"])
            ids.append(next(_ids))
            modseqs.append(row["modseq"] + 1 + taken[account])
            uids.append(row["uidnext"] + taken[account])
            taken[account] += 1
        await connection.execute(STORE, accounts, boxes, ids, modseqs, uids, *prepared)


# Three statements for a batch of the queue: what is due, on its way, done. No lease is looked at, no time line written.
DUE = """
SELECT r.id, r.message_id, r.site, r.address, m.sender, m.blob_key, m.size FROM queue_recipient r
JOIN queue_message m ON m.id = r.message_id
WHERE r.shard = $1 AND r.state IN (0, 1) AND r.state = 0 AND r.due <= now() ORDER BY r.due LIMIT $2
"""
START = "UPDATE queue_recipient SET state = 1, attempt = attempt + 1, since = now() WHERE id = ANY ($1::bigint[])"
FINISH = """
WITH finished AS (
    UPDATE queue_recipient SET state = 2, due = NULL, status = '2.0.0', reply = '250 ok', since = NULL
    WHERE id = ANY ($1::bigint[]) RETURNING message_id
), done AS (
    UPDATE queue_message SET done_at = now() WHERE id IN (SELECT message_id FROM finished)
), gone AS (
    DELETE FROM blob_ref WHERE kind = 2 AND account_id = 0 AND ref_id IN (SELECT message_id FROM finished)
    RETURNING blob_key
)
UPDATE blob SET touched_at = now() WHERE key IN (SELECT blob_key FROM gone)
"""
