"""The statements of the outgoing queue. Constants only.

Every write of an owner joins the row of its shard's lease, locked FOR SHARE, under the epoch it knows: nobody takes the
shard over while the statement's transaction runs, and an owner of the past changes zero rows (design law 5).
"""

# $1-$9 arrays over messages, $10 onward arrays over recipients, whose `n` is the message's place from 1.
ENQUEUE = """
WITH new AS (
    SELECT nextval('queue_message_id_seq') AS id, m.*
    FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bool[], $6::bool[], $7::text[], $8::text[],
                $9::uuid[], $10::timestamptz[]) WITH ORDINALITY
        AS m (sender, blob_key, size, account_id, smtputf8, eight_bit, ret, envid, delivery_id, hold_until, n)
), made AS (
    INSERT INTO queue_message (id, sender, blob_key, size, account_id, smtputf8, eight_bit, ret, envid, delivery_id)
    SELECT id, sender, blob_key, size, account_id, smtputf8, eight_bit, ret, envid, delivery_id FROM new ORDER BY n
    ON CONFLICT (delivery_id) DO NOTHING
    RETURNING id
), recipients AS (
    INSERT INTO queue_recipient (message_id, shard, due, state, site, address, notify, orcpt)
    SELECT new.id, r.shard, coalesce(new.hold_until, now()), 0, r.site, r.address, r.notify, r.orcpt
    FROM unnest($11::bigint[], $12::smallint[], $13::text[], $14::text[], $15::text[], $16::text[])
        AS r (n, shard, site, address, notify, orcpt)
    JOIN new USING (n) JOIN made ON made.id = new.id
), referred AS (
    INSERT INTO blob_ref (blob_key, kind, account_id, ref_id)
    SELECT new.blob_key, 2, 0, new.id FROM new JOIN made USING (id)
), noted AS (
    INSERT INTO queue_event (message_id, kind) SELECT id, 'queued' FROM made
)
SELECT new.n, new.id FROM new JOIN made USING (id)
"""

ENQUEUED_BEFORE = "SELECT delivery_id, id FROM queue_message WHERE delivery_id = ANY ($1::uuid[])"

_FENCE = "fence AS (SELECT epoch FROM lease WHERE key = $1 AND epoch = $2 FOR SHARE)"

# An attempt whose end nobody will ever write: of an owner of the past, or lost by this one long ago.
_IN_DOUBT = """(r.state = 1 AND (
    r.epoch < $2 AND r.since <= now() - make_interval(secs => $4) OR r.since <= now() - make_interval(secs => $5)))"""

CLAIM = f"""
SELECT r.id, r.message_id, r.shard, r.site, r.address, m.sender, m.blob_key, m.size, r.attempt, m.created_at, r.notify,
    r.orcpt, m.smtputf8, m.eight_bit, m.ret, m.envid, r.state = 1 OR r.doubts > 0 AS in_doubt
FROM queue_recipient r JOIN queue_message m ON m.id = r.message_id
WHERE r.shard = $3 AND r.state IN (0, 1) AND r.due <= now() AND (r.state = 0 OR {_IN_DOUBT})
    AND r.id <> ALL ($7::bigint[]) AND EXISTS (SELECT 1 FROM lease WHERE key = $1 AND epoch = $2)
ORDER BY r.due LIMIT $6
"""  # noqa: S608  constants only

START = f"""
WITH {_FENCE}, open AS (
    SELECT r.id, r.state FROM queue_recipient r
    WHERE r.id = ANY ($6::bigint[]) AND r.shard = $3 AND (r.state = 0 OR {_IN_DOUBT}) ORDER BY r.id FOR NO KEY UPDATE
), started AS (
    UPDATE queue_recipient r SET
        state = 1, attempt = least(r.attempt + 1, 32000), epoch = fence.epoch, since = now(),
        doubts = least(r.doubts + open.state, 32000)
    FROM open, fence WHERE r.id = open.id
    RETURNING r.id, r.message_id, r.attempt, r.epoch, open.state AS was
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt, epoch)
    SELECT message_id, id, 'in-doubt', attempt - 1, epoch FROM started WHERE was = 1
)
SELECT id FROM started
"""  # noqa: S608  constants only

FINISH = """
WITH fence AS (SELECT epoch FROM lease WHERE key = $1 FOR SHARE), finished AS (
    UPDATE queue_recipient r SET
        state = o.state, due = coalesce(o.due, r.due), status = o.status, reply = o.reply, since = NULL
    FROM unnest($3::bigint[], $4::bigint[], $5::smallint[], $6::text[], $7::text[], $8::text[], $9::timestamptz[],
                $10::text[]) AS o (id, epoch, state, reply, status, remote, due, tls)
    JOIN fence USING (epoch)
    WHERE r.id = o.id AND r.shard = $2 AND r.state = 1 AND r.epoch = o.epoch
    RETURNING r.id, r.message_id, r.attempt, o.epoch, o.state, o.reply, o.status, o.remote, o.tls
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt, epoch, status, reply, remote, tls)
    SELECT message_id, id, (ARRAY['deferred', 'deferred', 'delivered', 'failed', 'cancelled'])[state + 1],
        attempt, epoch, status, reply, remote, tls
    FROM finished
)
SELECT message_id, state FROM finished
"""

# Alone in its statement: the next one then sees what those who held the rows before have closed.
LOCK_MESSAGES = "SELECT id FROM queue_message WHERE id = ANY ($1::bigint[]) ORDER BY id FOR NO KEY UPDATE"

DONE = """
UPDATE queue_message SET done_at = now()
WHERE id = ANY ($1::bigint[]) AND done_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM queue_recipient WHERE message_id = queue_message.id AND state IN (0, 1))
RETURNING id
"""

NEXT_DUE = "SELECT min(due) FROM queue_recipient WHERE shard = $1 AND state IN (0, 1) AND state = 0"

DEPTH = "SELECT state, count(*) FROM queue_recipient GROUP BY state"

DEPTH_BY_SHARD = """
SELECT shard, count(*) AS open, count(*) FILTER (WHERE due <= now()) AS due
FROM queue_recipient WHERE state IN (0, 1) GROUP BY shard ORDER BY shard
"""

LIST = """
SELECT m.* FROM queue_message m
WHERE ($1::bigint = 0 OR m.id < $1) AND (m.done_at IS NULL OR $2) AND ($3::bigint IS NULL OR m.account_id = $3)
    AND ($4::text IS NULL OR strpos(m.sender, $4) > 0)
    AND ($5::text IS NULL AND $6::text IS NULL AND $7::smallint IS NULL OR EXISTS (
        SELECT 1 FROM queue_recipient r WHERE r.message_id = m.id AND ($5 IS NULL OR strpos(r.address, $5) > 0)
        AND ($6 IS NULL OR r.site = $6) AND ($7 IS NULL OR r.state = $7)))
ORDER BY m.id DESC LIMIT $8
"""

SHOW = "SELECT m.* FROM queue_message m WHERE id = $1"

RECIPIENTS = "SELECT * FROM queue_recipient WHERE message_id = ANY ($1::bigint[]) ORDER BY message_id, id"

TIME_LINE = "SELECT * FROM queue_event WHERE message_id = $1 ORDER BY at, id LIMIT $2"

RETRY = """
WITH hurried AS (
    UPDATE queue_recipient SET due = now() WHERE message_id = $1 AND state = 0 RETURNING id, shard, attempt
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt) SELECT $1, id, 'retry', attempt FROM hurried
)
SELECT DISTINCT shard FROM hurried ORDER BY shard
"""

CANCEL = """
WITH cancelled AS (
    UPDATE queue_recipient SET state = 4, since = NULL WHERE message_id = $1 AND state = 0 RETURNING id, attempt
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt) SELECT $1, id, 'cancelled', attempt FROM cancelled
)
SELECT count(*) FROM cancelled
"""

PURGE = """
DELETE FROM queue_message WHERE id IN (
    SELECT id FROM queue_message WHERE done_at < now() - make_interval(secs => $1) ORDER BY done_at LIMIT $2)
"""
