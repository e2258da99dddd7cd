"""The statements that repair an account: $1 is the account, $2 the last modseq in use. Constants only."""

from posthorn_storage.blobs.attach import letting_go

HIGHEST = """
SELECT greatest(
    (SELECT max(modseq) FROM mailbox WHERE account_id = $1),
    (SELECT max(modseq) FROM mailbox_message WHERE account_id = $1),
    (SELECT max(created_modseq) FROM message WHERE account_id = $1),
    (SELECT max(modseq) FROM change_log WHERE account_id = $1),
    (SELECT max(modseq) FROM collection WHERE account_id = $1), (SELECT max(modseq) FROM item WHERE account_id = $1), 0)
"""

NAMED_INBOX = """
UPDATE mailbox SET role = 'inbox', modseq = $2
WHERE account_id = $1 AND parent_id = 0 AND upper(name) = 'INBOX'
    AND NOT EXISTS (SELECT FROM mailbox WHERE account_id = $1 AND role = 'inbox')
RETURNING id
"""
NEW_INBOX = """
INSERT INTO mailbox (account_id, name, role, uidvalidity, modseq)
SELECT $1, 'INBOX', 'inbox', $3, $2 WHERE NOT EXISTS (SELECT FROM mailbox WHERE account_id = $1 AND role = 'inbox')
RETURNING id
"""

EMPTY_ENTRIES = """
DELETE FROM mailbox_message b WHERE account_id = $1 AND (
    NOT EXISTS (SELECT FROM message m WHERE m.account_id = $1 AND m.id = b.message_id)
    OR NOT EXISTS (SELECT FROM mailbox x WHERE x.account_id = $1 AND x.id = b.mailbox_id))
RETURNING mailbox_id, uid, message_id
"""
SIZES = """
UPDATE mailbox_message b SET size = m.size FROM message m
WHERE b.account_id = $1 AND m.account_id = $1 AND m.id = b.message_id AND b.size <> m.size
"""

HOMELESS = """
SELECT id, size FROM message m WHERE account_id = $1 AND NOT EXISTS (
    SELECT FROM mailbox_message b WHERE b.account_id = $1 AND b.message_id = m.id) ORDER BY id
"""

# A mailbox whose parent is gone, before one that lies in itself.
UNREACHABLE = """
WITH RECURSIVE tree AS (
    SELECT id FROM mailbox WHERE account_id = $1 AND parent_id = 0
    UNION SELECT m.id FROM mailbox m JOIN tree t ON m.parent_id = t.id WHERE m.account_id = $1
)
SELECT id FROM mailbox m WHERE account_id = $1 AND id NOT IN (SELECT id FROM tree)
ORDER BY EXISTS (SELECT FROM mailbox p WHERE p.account_id = $1 AND p.id = m.parent_id), id LIMIT 1
"""
TO_THE_TOP = """
UPDATE mailbox m SET parent_id = 0, modseq = $3, name = CASE
    WHEN EXISTS (SELECT FROM mailbox o WHERE o.account_id = $1 AND o.parent_id = 0 AND o.name = m.name)
    THEN left(name, 100) || ' (' || id || ')' ELSE name END
WHERE account_id = $1 AND id = $2
"""

NO_TEXT = """
INSERT INTO message_text (account_id, message_id, "from", "to", cc, bcc, subject, headers, body)
SELECT $1, id, '', '', '', '', lower(subject), '', '' FROM message m WHERE account_id = $1 AND NOT EXISTS (
    SELECT FROM message_text t WHERE t.account_id = $1 AND t.message_id = m.id)
"""
NO_MESSAGE = """
DELETE FROM message_text t WHERE account_id = $1 AND NOT EXISTS (
    SELECT FROM message m WHERE m.account_id = $1 AND m.id = t.message_id)
"""

UNINDEXED = """
INSERT INTO index_task (account_id, message_id)
SELECT m.account_id, m.id FROM message m WHERE m.account_id = $1
    AND NOT EXISTS (SELECT FROM message_index i WHERE i.account_id = $1 AND i.message_id = m.id)
ON CONFLICT DO NOTHING
"""
STRAY_WORDS = """
DELETE FROM message_index i WHERE i.account_id = $1 AND NOT EXISTS (
    SELECT FROM message m WHERE m.account_id = $1 AND m.id = i.message_id)
"""

DEAD_KEYS = """
DELETE FROM thread_key k WHERE account_id = $1 AND NOT EXISTS (
    SELECT FROM message m WHERE m.account_id = $1 AND m.thread_id = k.thread_id)
"""

# The collector marks a blob only under a lock on its row: see posthorn_storage.blobs.attach.
HOLD_BLOBS = """
WITH held AS (
    SELECT key FROM blob WHERE state = 1 AND key IN (SELECT blob_key FROM message WHERE account_id = $1)
    ORDER BY key FOR KEY SHARE
)
INSERT INTO blob_ref (blob_key, kind, account_id, ref_id)
SELECT m.blob_key, 1, $1, m.id FROM message m JOIN held ON held.key = m.blob_key WHERE m.account_id = $1
ON CONFLICT DO NOTHING
"""
STRAY = letting_go("""r WHERE account_id = $1 AND kind = 1 AND NOT EXISTS (
    SELECT FROM message m WHERE m.account_id = $1 AND m.id = r.ref_id AND m.blob_key = r.blob_key)""")

COLLECTIONS = """
UPDATE collection c SET modseq = i.modseq
FROM (SELECT collection_id, max(modseq) AS modseq FROM item WHERE account_id = $1 GROUP BY collection_id) AS i
WHERE c.account_id = $1 AND c.id = i.collection_id AND c.modseq < i.modseq
"""

RETURNED = """
DELETE FROM mailbox_message b USING change_log l
WHERE b.account_id = $1 AND l.account_id = $1 AND l.kind = 20 AND l.container_id = b.mailbox_id AND l.uid = b.uid
RETURNING b.mailbox_id, b.uid, b.message_id, b.modseq, b.size, b.flags, b.keywords
"""

OF_MODSEQS = """
SELECT DISTINCT message_id FROM mailbox_message WHERE account_id = $1 AND modseq = ANY ($2::bigint[])
"""

RESTAMP_MESSAGES = """
UPDATE message m SET created_modseq = $2 + n.n
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM unnest($3::bigint[]) AS id) AS n
WHERE m.account_id = $1 AND m.id = n.id
"""
RESTAMP_ENTRIES = """
UPDATE mailbox_message b SET modseq = $2 + n.n
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM unnest($3::bigint[]) AS id) AS n
WHERE b.account_id = $1 AND b.message_id = n.id RETURNING b.mailbox_id
"""
RESTAMP_ITEMS = """
UPDATE item i SET modseq = $2 + n.n
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM unnest($3::bigint[]) AS id) AS n
WHERE i.account_id = $1 AND i.id = n.id
"""
ITEM_KINDS = """
SELECT i.id, CASE c.kind WHEN 'cal' THEN 7 WHEN 'card' THEN 9 ELSE 22 END AS kind
FROM item i JOIN collection c ON c.account_id = i.account_id AND c.id = i.collection_id
WHERE i.account_id = $1 AND i.id = ANY ($2::bigint[]) ORDER BY i.id
"""

RIGHTS = """
DELETE FROM mailbox_right r WHERE account_id = $1 AND NOT EXISTS (
    SELECT FROM mailbox m WHERE m.account_id = $1 AND m.id = r.mailbox_id)
"""
WAYS = """
INSERT INTO share (grantee_id, owner_id)
SELECT DISTINCT grantee_id, account_id FROM mailbox_right WHERE account_id = $1 AND NOT negative
ON CONFLICT DO NOTHING
"""

RECOUNT = """
WITH wrong AS (
    SELECT m.id, c.*, row_number() OVER (ORDER BY m.id) AS n FROM mailbox m CROSS JOIN LATERAL (
        SELECT count(*) AS total, count(*) FILTER (WHERE flags & 1 = 0) AS unseen,
               count(*) FILTER (WHERE flags & 8 <> 0) AS deleted, coalesce(sum(size), 0)::bigint AS size,
               coalesce(max(uid), 0) + 1 AS uidnext, coalesce(max(modseq), 0) AS modseq
        FROM mailbox_message b WHERE b.account_id = m.account_id AND b.mailbox_id = m.id) AS c
    WHERE m.account_id = $1 AND ((m.total, m.unseen, m.deleted, m.size) <> (c.total, c.unseen, c.deleted, c.size)
        OR m.uidnext < c.uidnext OR m.modseq < c.modseq)
)
UPDATE mailbox m SET total = w.total, unseen = w.unseen, deleted = w.deleted, size = w.size,
    uidnext = greatest(m.uidnext, w.uidnext), modseq = $2 + w.n
FROM wrong w WHERE m.account_id = $1 AND m.id = w.id RETURNING m.id, m.modseq
"""
SUMS = """
SELECT (SELECT coalesce(sum(size), 0)::bigint FROM message WHERE account_id = $1)
       + (SELECT coalesce(sum(octet_length(content)), 0) FROM item WHERE account_id = $1) AS bytes,
       (SELECT count(*) FROM message WHERE account_id = $1) AS messages
"""
# A move that copies the account relies on the log, which does not tell of every repair: it may not switch any more.
UNMARK = "UPDATE account_counter SET move_epoch = NULL WHERE account_id = $1"
START_OVER = "UPDATE account_counter SET horizon = $2 WHERE account_id = $1"

# Of the whole database; they take no argument.
FINISH_QUEUE = """
WITH done AS (
    UPDATE queue_message q SET done_at = now() WHERE done_at IS NULL AND NOT EXISTS (
        SELECT FROM queue_recipient r WHERE r.message_id = q.id AND r.state IN (0, 1))
    RETURNING id
)
SELECT count(*) FROM done
"""
LET_GO_QUEUE = letting_go("""f WHERE f.account_id = 0 AND f.kind = 2 AND NOT EXISTS (
    SELECT FROM queue_message q WHERE q.id = f.ref_id AND q.blob_key = f.blob_key AND q.done_at IS NULL)""")
HOLD_QUEUE = """
WITH waiting AS (
    SELECT id, blob_key FROM queue_message q WHERE done_at IS NULL AND NOT EXISTS (
        SELECT FROM blob_ref f WHERE f.blob_key = q.blob_key AND f.kind = 2 AND f.account_id = 0 AND f.ref_id = q.id)
), held AS (
    SELECT key FROM blob WHERE state = 1 AND key IN (SELECT blob_key FROM waiting) ORDER BY key FOR KEY SHARE
), put AS (
    INSERT INTO blob_ref (blob_key, kind, account_id, ref_id)
    SELECT w.blob_key, 2, 0, w.id FROM waiting w JOIN held ON held.key = w.blob_key ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM put
"""
# $1 and $2 bound the keys.
LIST_LEAKED = """
WITH leaked AS (
    SELECT b.key FROM blob b WHERE b.key > $1 AND b.key <= $2 AND b.state = 1 AND b.touched_at IS NULL
        AND NOT EXISTS (SELECT FROM blob_ref f WHERE f.blob_key = b.key) ORDER BY key FOR NO KEY UPDATE
), touched AS (
    UPDATE blob SET touched_at = now() FROM leaked WHERE blob.key = leaked.key RETURNING 1
)
SELECT count(*) FROM touched
"""
