"""The statements of the outgoing queue. Constants only.

Every write of an owner joins the rows of its shards' leases, locked FOR SHARE, under the epochs it knows: nobody takes
a shard over while the statement's transaction runs, and an owner of the past changes zero rows (design law 5).
"""

from posthorn_storage.blobs.attach import TOUCH_GONE
from posthorn_storage.database.plans import one_plan
from posthorn_storage.leases import STANDING
from posthorn_storage.queue.selection import ANY_RECIPIENT, MESSAGES
from posthorn_storage.queue.selection import RECIPIENTS as RECIPIENTS_MEANT

# $1-$14 arrays over messages, $15-$22 arrays over recipients, whose `n` is the message's place from 1, $23 how many
# shards there are. The rows of a site that is spread stand in several (spreads.py).
ENQUEUE = """
WITH new AS (
    SELECT nextval('queue_message_id_seq') AS id, m.*
    FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bool[], $6::bool[], $7::text[], $8::text[],
                $9::uuid[], $10::timestamptz[], $11::text[], $12::timestamptz[], $13::text[], $14::bool[])
        WITH ORDINALITY
        AS m (sender, blob_key, size, account_id, smtputf8, eight_bit, ret, envid, delivery_id, hold_until,
              signing_domain, deliver_by, by_mode, require_tls, n)
), made AS (
    INSERT INTO queue_message (id, sender, blob_key, size, account_id, smtputf8, eight_bit, ret, envid, delivery_id,
                               signing_domain, deliver_by, by_mode, require_tls)
    SELECT id, sender, blob_key, size, account_id, smtputf8, eight_bit, ret, envid, delivery_id, signing_domain,
           deliver_by, by_mode, require_tls
    FROM new ORDER BY n
    ON CONFLICT (delivery_id) DO NOTHING
    RETURNING id
), recipients AS (
    INSERT INTO queue_recipient (message_id, shard, due, state, site, address, notify, orcpt, priority)
    SELECT new.id, CASE WHEN s.spread IS NULL THEN r.shard ELSE (r.shard + r.salt % s.spread) % $23::int END,
           coalesce(new.hold_until, now()), 0, r.site, r.address, r.notify, r.orcpt, r.priority
    FROM unnest($15::bigint[], $16::smallint[], $17::text[], $18::text[], $19::text[], $20::text[], $21::smallint[],
                $22::int[])
        AS r (n, shard, site, address, notify, orcpt, priority, salt)
    JOIN new USING (n) JOIN made ON made.id = new.id LEFT JOIN queue_spread s ON s.site = r.site
), referred AS (
    INSERT INTO blob_ref (blob_key, kind, account_id, ref_id)
    SELECT new.blob_key, 2, 0, new.id FROM new JOIN made USING (id)
), noted AS (
    INSERT INTO queue_event (message_id, kind) SELECT id, 'queued' FROM made
)
SELECT new.n, new.id FROM new JOIN made USING (id)
"""

ENQUEUED_BEFORE = "SELECT delivery_id, id FROM queue_message WHERE delivery_id = ANY ($1::uuid[])"

# $1 keys of leases, $2 epochs, $3 numbers of shards.
FENCE = f"""fence AS MATERIALIZED (
    SELECT f.shard, l.epoch, l.owner
    FROM unnest($1::text[], $2::bigint[], $3::smallint[]) AS f (key, epoch, shard), LATERAL (
        SELECT epoch, owner, {STANDING} FROM lease WHERE lease.key = f.key AND lease.epoch = f.epoch FOR SHARE) AS l
)"""  # noqa: S608  constants only

# An attempt whose end nobody will ever write: of an owner of the past, or lost by this one long ago.
IN_DOUBT = """(r.state = 1 AND (
    r.epoch < {epoch} AND r.since <= now() - make_interval(secs => {doubt})
    OR r.since <= now() - make_interval(secs => {lost})))"""

# Those of high priority, then the usual ones, then those of low priority; the later parts run only while there is room.
# Few have a priority: an index of its own finds them without a look at the others.
_PARTS = (
    ("r.priority > 0", "r.priority DESC, r.due"),
    ("r.priority = 0", "r.due"),
    ("r.priority < 0", "r.priority DESC, r.due"),
)


def _claim(*, whose: str = "", n: str = "1::bigint", shard: str, epoch: str, limit: str, left_out: str) -> str:
    """A claim of one shard, or the `n`th of those that `whose` gives. $4 and $5 are seconds of doubt.

    The rows are chosen before anything else is read for them. The columns are in the order of DueRecipient, behind them
    its terms and `n`.
    """
    parts = "\n    UNION ALL".join(
        f"""
    (SELECT * FROM queue_recipient r
    WHERE r.shard = {shard} AND r.due <= now()
        AND (r.state = 0 OR {IN_DOUBT.format(epoch=epoch, doubt="$4", lost="$5")})
        AND {left_out} AND {which}
    ORDER BY {order} LIMIT {limit})"""  # noqa: S608  constants only
        for which, order in _PARTS
    )
    return f"""
SELECT r.id, r.message_id, r.shard, r.site, r.address, m.sender, m.blob_key, m.size, r.attempt, m.created_at, r.notify,
    r.orcpt, m.smtputf8, m.eight_bit, m.ret, m.envid, r.state = 1 OR r.doubts > 0 AS in_doubt, m.signing_domain,
    r.noticed, m.deliver_by, m.by_mode, r.priority, m.require_tls, {n} AS n
FROM {whose} ({parts}
    LIMIT {limit}) AS r
JOIN queue_message m ON m.id = r.message_id"""  # noqa: S608  constants only


# $1 the key of the lease, $2 its epoch, $3 the shard, $6 how many, $7 recipients and $8 sites that are left out.
CLAIM = f"""
{
    _claim(
        shard="$3",
        epoch="$2",
        limit="$6",
        left_out="r.id <> ALL ($7::bigint[]) AND r.site <> ALL ($8::text[])",
    )
}
WHERE EXISTS (SELECT 1 FROM lease WHERE key = $1 AND epoch = $2)
ORDER BY r.priority DESC, r.due, r.id
"""  # noqa: S608  constants only

# The same of several shards, each under its own lease: $1-$3 and $6 arrays, one element a claim; $8 the place from 1 of
# the claim that leaves out the site in $9. What is left out is hashed: all claims' lists are one.
CLAIM_EACH = one_plan(f"""
{
    _claim(
        whose='''unnest($1::text[], $2::bigint[], $3::smallint[], $6::int[]) WITH ORDINALITY
    AS c (key, epoch, shard, most, n)
JOIN lease l ON l.key = c.key AND l.epoch = c.epoch, LATERAL''',
        n="c.n",
        shard="c.shard",
        epoch="c.epoch",
        limit="c.most",
        left_out='''r.id NOT IN (SELECT unnest($7::bigint[]))
        AND (c.n, r.site) NOT IN (SELECT n, site FROM unnest($8::bigint[], $9::text[]) AS s (n, site))''',
    )
}
ORDER BY c.n, r.priority DESC, r.due, r.id
""")  # noqa: S608  constants only

# $4 recipients with $5 their shards and $6 the epochs under which they are started; seconds of doubt: $7, $8.
START = one_plan(f"""
WITH {FENCE}, open AS MATERIALIZED (
    SELECT r.*, w.epoch, fence.owner
    FROM unnest($4::bigint[], $5::smallint[], $6::bigint[]) AS w (id, shard, epoch) JOIN fence USING (shard, epoch),
    LATERAL (
        SELECT r.id, r.ctid AS place, r.state FROM queue_recipient r
        WHERE r.id = w.id AND r.shard = w.shard
            AND (r.state = 0 AND r.parked IS NULL OR {IN_DOUBT.format(epoch="w.epoch", doubt="$7", lost="$8")})
        FOR NO KEY UPDATE) AS r
), started AS (
    UPDATE queue_recipient r SET
        state = 1, attempt = least(r.attempt + 1, 32000), epoch = open.epoch, since = now(),
        doubts = least(r.doubts + open.state, 32000)
    FROM open WHERE r.ctid = open.place
    RETURNING r.id, r.message_id, r.attempt, r.epoch, open.owner, open.state AS was
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt, epoch, owner)
    SELECT message_id, id, 'in-doubt', attempt - 1, epoch, owner FROM started WHERE was = 1
)
SELECT id FROM started
""")  # noqa: S608  constants only

# When a recipient that is stopped is due: never, as far as an index on times goes.
FAR = "timestamptz '9999-01-01 00:00:00+00'"

# $4 recipients of one shard and $5 the pauses that stop them; seconds of doubt: $6, $7. An attempt whose end is unknown
# is in doubt from now on, whatever becomes of the pause.
PARK = f"""
WITH {FENCE}, standing AS MATERIALIZED (
    SELECT id FROM queue_pause WHERE id = ANY ($5::bigint[]) AND lifted_at IS NULL FOR SHARE
), open AS MATERIALIZED (
    SELECT r.*, w.pause
    FROM unnest($4::bigint[], $5::bigint[]) AS w (id, pause) JOIN standing ON standing.id = w.pause, fence, LATERAL (
        SELECT r.ctid AS place, r.state FROM queue_recipient r
        WHERE r.id = w.id AND r.shard = fence.shard AND r.parked IS NULL
            AND (r.state = 0 OR {IN_DOUBT.format(epoch="fence.epoch", doubt="$6", lost="$7")})
        FOR NO KEY UPDATE) AS r
), parked AS (
    UPDATE queue_recipient r SET
        state = 0, since = NULL, doubts = least(r.doubts + open.state, 32000),
        parked = open.pause, resume_due = r.due, due = {FAR}
    FROM open WHERE r.ctid = open.place
    RETURNING r.id, r.message_id, r.attempt, open.state AS was, r.parked
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt, reply)
    SELECT k.message_id, k.id, n.kind, k.attempt, n.told
    FROM parked k JOIN queue_pause p ON p.id = k.parked,
    LATERAL (VALUES ('in-doubt', k.was = 1, ''), ('paused', true, trim(p.name || ' ' || p.reason)))
        AS n (kind, wanted, told) WHERE n.wanted
)
SELECT count(*) FROM parked
"""  # noqa: S608  constants only

# What is closed is due at no time, and so in no index of what is due; processes of the version before leave it there.
# $4 how many of the longest due are looked at.
SETTLE = f"""
WITH {FENCE}, closed AS MATERIALIZED (
    SELECT first.place FROM fence, LATERAL (
        SELECT r.ctid AS place, r.state FROM queue_recipient r
        WHERE r.shard = fence.shard AND r.due <= now() ORDER BY r.due LIMIT $4) AS first
    WHERE first.state > 1 LIMIT 2000
), settled AS (
    UPDATE queue_recipient r SET due = NULL FROM closed WHERE r.ctid = closed.place RETURNING r.id
)
SELECT count(*) FROM settled
"""  # noqa: S608  constants only

# $4-$15 outcomes. A message whose other recipients are closed already, as this statement sees it, is done at once: none
# is ever opened again. Where others seem open it must be looked at once more, under its lock: they may be closed just
# now by somebody who sees this one open.
FINISH = one_plan(f"""
WITH {FENCE}, ended AS MATERIALIZED (
    SELECT o.*, fence.owner
    FROM unnest($4::bigint[], $5::smallint[], $6::bigint[], $7::smallint[], $8::text[], $9::text[], $10::text[],
                $11::timestamptz[], $12::text[], $13::bool[], $14::text[], $15::smallint[])
        AS o (id, shard, epoch, state, reply, status, remote, due, tls, noticed, reply_class, notices)
    JOIN fence USING (shard, epoch)
), open AS MATERIALIZED (
    SELECT r.place, o.* FROM ended o, LATERAL (
        SELECT r.ctid AS place FROM queue_recipient r
        WHERE r.id = o.id AND r.shard = o.shard AND r.state = 1 AND r.epoch = o.epoch FOR NO KEY UPDATE) AS r
), finished AS (
    UPDATE queue_recipient r SET
        state = o.state, due = CASE WHEN o.state < 2 THEN coalesce(o.due, r.due) END, status = o.status,
        reply = o.reply, since = NULL,
        noticed = r.noticed OR o.noticed, notices = greatest(r.notices, o.notices)
    FROM open o WHERE r.ctid = o.place
    RETURNING r.id, r.message_id, r.attempt, o.epoch, o.state, o.reply, o.status, o.remote, o.tls, o.reply_class,
        o.owner
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt, epoch, status, reply, remote, tls, reply_class,
                             owner)
    SELECT message_id, id, (ARRAY['deferred', 'deferred', 'delivered', 'failed', 'cancelled'])[state + 1],
        attempt, epoch, status, reply, remote, tls, reply_class, owner
    FROM finished
), closed AS MATERIALIZED (
    SELECT c.message_id, NOT EXISTS (
        SELECT FROM queue_recipient r WHERE r.message_id = c.message_id AND r.state IN (0, 1)
            AND r.id NOT IN (SELECT id FROM finished WHERE state > 1)) AS alone
    FROM (SELECT DISTINCT message_id FROM finished WHERE state > 1) AS c
), done AS (
    UPDATE queue_message m SET done_at = now() FROM closed c
    WHERE m.id = c.message_id AND c.alone AND m.done_at IS NULL
    RETURNING m.id
), gone AS (
    DELETE FROM blob_ref b USING done WHERE b.account_id = 0 AND b.kind = 2 AND b.ref_id = done.id RETURNING b.blob_key
), {TOUCH_GONE}
SELECT id, NULL AS undecided FROM finished
UNION ALL SELECT NULL, message_id FROM closed WHERE NOT alone
""")  # noqa: S608  constants only

# Alone in its statement: the next one then sees what those who held the rows before have closed.
LOCK_MESSAGES = "SELECT id FROM queue_message WHERE id = ANY ($1::bigint[]) ORDER BY id FOR NO KEY UPDATE"

DONE = """
UPDATE queue_message SET done_at = now()
WHERE id = ANY ($1::bigint[]) AND done_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM queue_recipient WHERE message_id = queue_message.id AND state IN (0, 1))
RETURNING id
"""

NOTICES = "SELECT id, notices FROM queue_recipient WHERE id = ANY ($1::bigint[])"

# $4 recipients with $5 when they are due, and what is said of them: $6, $7.
POSTPONE = one_plan(f"""
WITH {FENCE}, postponed AS (
    UPDATE queue_recipient r SET due = w.due, status = $6, reply = $7
    FROM unnest($4::bigint[], $5::timestamptz[]) AS w (id, due), fence
    WHERE r.id = w.id AND r.shard = fence.shard AND r.state = 0 AND r.parked IS NULL
    RETURNING r.id, r.message_id, r.attempt, fence.epoch
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt, epoch, status, reply)
    SELECT message_id, id, 'postponed', attempt, epoch, $6, $7 FROM postponed
)
SELECT count(*) FROM postponed
""")  # noqa: S608  constants only

NEXT_DUE = "SELECT min(due) FROM queue_recipient WHERE shard = $1 AND state = 0"

# The first of each shard by the index of what is open, without a look at the rest.
OVERDUE = """
SELECT coalesce(extract(epoch FROM now() - min(first.due)), 0)::float8
FROM generate_series(0, $1::int - 1) AS shard, LATERAL (
    SELECT due FROM queue_recipient r WHERE r.shard = shard.shard AND state = 0 AND due < now()
    ORDER BY due LIMIT 1) AS first
"""

DEPTH = "SELECT state, count(*) FROM queue_recipient GROUP BY state"

# What waits and is stopped is counted apart: 0 by an operator, 1 by a pause.
STANDINGS = """
SELECT state, CASE WHEN state = 0 THEN least(parked, 1) END AS parked, count(*) FROM queue_recipient GROUP BY 1, 2
"""

DEPTH_BY_SHARD = """
SELECT shard, count(*) AS open, count(*) FILTER (WHERE due <= now()) AS due
FROM queue_recipient WHERE state IN (0, 1) AND due IS NOT NULL GROUP BY shard ORDER BY shard
"""

# $1-$9 the filter (selection.py), $10 only ids below, $11 done ones too, $12 how many.
LIST = f"""
SELECT m.* FROM queue_message m
WHERE ($10::bigint = 0 OR m.id < $10) AND (m.done_at IS NULL OR $11) AND {MESSAGES}
    AND ({ANY_RECIPIENT} OR EXISTS (SELECT 1 FROM queue_recipient r WHERE r.message_id = m.id AND {RECIPIENTS_MEANT}))
ORDER BY m.id DESC LIMIT $12
"""  # noqa: S608  constants only

SHOW = "SELECT m.* FROM queue_message m WHERE id = $1"

RECIPIENTS = "SELECT * FROM queue_recipient WHERE message_id = ANY ($1::bigint[]) ORDER BY message_id, id"

TIME_LINE = "SELECT * FROM queue_event WHERE message_id = $1 ORDER BY at, id LIMIT $2"

PURGE = """
DELETE FROM queue_message WHERE id IN (
    SELECT id FROM queue_message WHERE done_at < now() - make_interval(secs => $1) ORDER BY done_at LIMIT $2)
"""
