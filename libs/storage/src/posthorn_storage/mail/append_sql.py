"""The statements that store new messages: one that locks and reads, one that writes everything. Constants only."""

from posthorn_storage.database.plans import one_plan
from posthorn_storage.mail.journal import flush_sql

LOCKED, MAILBOX, SEEN, THREAD = range(4)
"""What a row of READ tells, in its column `what`."""

# What is read here is as old as the statement, while its lock may have waited for others to commit. So each locked row
# carries the modseq that the reading part saw: when it is that of the locked row, nothing was committed to the account
# in between, for nothing is changed without taking a modseq. Otherwise it must be read once more, under the lock.
# It tells of the account's inbox, too.
# $1 accounts; $2, $3 pairs of account and mailbox; $4, $5 of account and key of delivery_seen; $7, $8 of account and
# key of a thread. In the place of read_at, a row of delivery_seen tells whether it counts: for $6 seconds, or as long
# as it is there when it is a delivery id (105 is "i").
READ = one_plan("""
WITH locked AS MATERIALIZED (
    SELECT account_id, modseq, used_bytes, used_messages, uidvalidity, quota, state FROM account_counter
    WHERE account_id = ANY ($1::bigint[])
    ORDER BY account_id FOR NO KEY UPDATE
)
SELECT l.*, (SELECT modseq FROM account_counter c WHERE c.account_id = l.account_id) AS read_at, 0 AS what,
    NULL::bytea AS key, m.id AS inbox, m.uidvalidity AS inbox_uidvalidity, m.uidnext AS inbox_uidnext
FROM locked l LEFT JOIN LATERAL (
    SELECT * FROM mailbox b WHERE b.account_id = l.account_id AND b.role = 'inbox' OFFSET 0) AS m ON true
UNION ALL
SELECT m.account_id, m.id, m.uidvalidity, m.uidnext, NULL, NULL, NULL, NULL, 1, NULL, NULL, NULL, NULL
FROM unnest($2::bigint[], $3::bigint[]) AS w (account_id, id), LATERAL (
    SELECT * FROM mailbox b WHERE b.account_id = w.account_id AND b.id = w.id OFFSET 0) AS m
UNION ALL
SELECT s.account_id, s.message_id, NULL, NULL, NULL, NULL, NULL,
    (get_byte(s.key, 0) = 105 OR s.at > clock_timestamp() - make_interval(secs => $6))::int, 2, s.key, NULL, NULL, NULL
FROM unnest($4::bigint[], $5::bytea[]) AS w (account_id, key), LATERAL (
    SELECT * FROM delivery_seen d WHERE d.account_id = w.account_id AND d.key = w.key OFFSET 0) AS s
UNION ALL
SELECT t.account_id, t.thread_id, NULL, NULL, NULL, NULL, NULL, NULL, 3, t.key, NULL, NULL, NULL
FROM unnest($7::bigint[], $8::bytea[]) AS w (account_id, key), LATERAL (
    SELECT * FROM thread_key k WHERE k.account_id = w.account_id AND k.key = w.key OFFSET 0) AS t
""")

# What the journal does not know of: each new message, and its thread.
_LOGGED = """
    UNION ALL SELECT account_id, 2, modseq, id, 1, NULL, NULL, NULL FROM new
    UNION ALL SELECT account_id, 3, modseq, thread_id, CASE WHEN thread_id = id THEN 1 ELSE 2 END, NULL, NULL, NULL
    FROM new"""

# Blobs come first, as posthorn_storage.blobs.attach tells: small ones are stored, and what is there already is locked.
# Unless all of them are live then, nothing else is written, and the caller goes that longer way.
#
# Keys are inserted plainly, which costs PostgreSQL half of what an arbiter costs: under the accounts' locks READ told
# which are there already. Those of deliveries that count no more come apart and are replaced.
#
# $1-$32 messages, each with its first mailbox and UID there; $33-$35 their other mailboxes; $36-$38 keys of deliveries
# to replace; $39-$41 keys of threads; $42-$45 blobs; $46-$66 the journal.
WRITE = one_plan(f"""
WITH stored AS (
    INSERT INTO blob (key, size, state, encoding, inline)
    SELECT key, size, 1, encoding, inline
    FROM unnest($42::bytea[], $43::bigint[], $44::smallint[], $45::bytea[]) AS n (key, size, encoding, inline)
    WHERE inline IS NOT NULL ORDER BY key
    ON CONFLICT (key) DO NOTHING
    RETURNING key
), held AS (
    SELECT state FROM blob
    WHERE key = ANY (ARRAY(SELECT unnest($42::bytea[]) EXCEPT ALL SELECT key FROM stored)) ORDER BY key FOR KEY SHARE
), ready AS MATERIALIZED (
    SELECT (SELECT count(*) FROM stored) + (SELECT count(*) FROM held WHERE state = 1) = cardinality($42::bytea[]) AS ok
), new AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::timestamptz[], $7::timestamptz[],
        $8::bigint[], $9::boolean[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::bytea[],
        $16::bytea[], $17::bytea[], $18::bytea[], $19::bytea[], $20::text[], $21::text[], $22::text[], $23::text[],
        $24::text[], $25::text[], $26::text[], $27::bigint[], $28::bigint[], $29::smallint[], $30::text[],
        $31::bytea[], $32::bytea[])
    AS n (account_id, id, thread_id, blob_key, size, received_at, sent_at, modseq, has_attachment,
        message_id, subject, base_subject, preview, envelope, body_structure, body, structure, listing, headers,
        from_text, to_text, cc_text, bcc_text, subject_text, headers_text, body_text, mailbox_id, uid, flags,
        keywords, delivery, digest)
    WHERE (SELECT ok FROM ready)
), messages AS (
    INSERT INTO message (account_id, id, thread_id, blob_key, size, received_at, sent_at, created_modseq,
                         has_attachment, message_id, subject, base_subject, preview, envelope, body_structure, body,
                         structure, listing, headers)
    SELECT account_id, id, thread_id, blob_key, size, coalesce(received_at, clock_timestamp()), sent_at, modseq,
           has_attachment, message_id, subject, base_subject, preview, envelope, body_structure, body, structure,
           listing, headers
    FROM new
), texts AS (
    INSERT INTO message_text (account_id, message_id, "from", "to", cc, bcc, subject, headers, body)
    SELECT account_id, id, from_text, to_text, cc_text, bcc_text, subject_text, headers_text, body_text FROM new
), referred AS (
    INSERT INTO blob_ref (blob_key, kind, account_id, ref_id) SELECT blob_key, 1, account_id, id FROM new
), remembered AS (
    INSERT INTO delivery_seen (account_id, key, message_id, at)
    SELECT account_id, key, id, clock_timestamp()
    FROM (SELECT account_id, unnest(ARRAY[delivery, digest]) AS key, id FROM new) AS n WHERE key IS NOT NULL
), remembered_again AS (
    INSERT INTO delivery_seen (account_id, key, message_id, at)
    SELECT account_id, key, id, clock_timestamp()
    FROM unnest($36::bigint[], $37::bytea[], $38::bigint[]) AS n (account_id, key, id) WHERE (SELECT ok FROM ready)
    ON CONFLICT (account_id, key) DO UPDATE SET message_id = EXCLUDED.message_id, at = EXCLUDED.at
), keys AS (
    INSERT INTO thread_key (account_id, key, thread_id)
    SELECT * FROM unnest($39::bigint[], $40::bytea[], $41::bigint[]) AS n (account_id, key, thread_id)
    WHERE (SELECT ok FROM ready)
), places AS (
    INSERT INTO mailbox_message (account_id, mailbox_id, uid, message_id, modseq, size, flags, keywords)
    SELECT account_id, mailbox_id, uid, id, modseq, size, flags, string_to_array(keywords, ' ') FROM new
    UNION ALL
    SELECT n.account_id, o.mailbox_id, o.uid, n.id, n.modseq, n.size, n.flags, string_to_array(n.keywords, ' ')
    FROM unnest($33::bigint[], $34::bigint[], $35::bigint[]) AS o (message_id, mailbox_id, uid)
    JOIN new n ON n.id = o.message_id
), {flush_sql(46, "AND (SELECT ok FROM ready)", _LOGGED)}
SELECT ok FROM ready
""")  # noqa: S608  constants only

EARLIER = """
SELECT m.account_id, m.id, m.thread_id, b.mailbox_id, b.uid, box.uidvalidity
FROM unnest($1::bigint[], $2::bigint[]) AS wanted (account_id, id)
JOIN message m ON m.account_id = wanted.account_id AND m.id = wanted.id
JOIN mailbox_message b ON b.account_id = m.account_id AND b.message_id = m.id
JOIN mailbox box ON box.account_id = b.account_id AND box.id = b.mailbox_id
ORDER BY b.mailbox_id
"""
