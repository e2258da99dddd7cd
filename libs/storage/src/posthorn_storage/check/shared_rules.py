"""What must always be true of what accounts share: the directory, the outgoing queue, blobs and their references."""

from typing import Final

from posthorn_storage.check.rules import QUEUE_RULE, Rule

DATABASE_RULES: Final = (
    QUEUE_RULE,
    Rule(
        "queue-unfinished",
        "a queued message has no recipient left to do, and is not marked as done",
        """
        SELECT 0 AS account_id, q.id AS queue_message, q.created_at FROM queue_message q
        WHERE q.done_at IS NULL AND NOT EXISTS (
            SELECT FROM queue_recipient r WHERE r.message_id = q.id AND r.state IN (0, 1))
        """,
    ),
    Rule(
        "queue-done-too-early",
        "a message that is marked as done has recipients to do, and its content may be gone",
        """
        SELECT 0 AS account_id, q.id AS queue_message, r.id AS recipient, r.state
        FROM queue_recipient r JOIN queue_message q ON q.id = r.message_id
        WHERE r.state IN (0, 1) AND r.due IS NOT NULL AND q.done_at IS NOT NULL
        """,
        "restore its blob from a backup, or tell the sender that it may not arrive and cancel its recipients",
    ),
    Rule(
        "queue-abandoned",
        "an attempt began long ago, and nobody has held its shard for an hour",
        """
        SELECT 0 AS account_id, r.shard, count(*) AS recipients, min(r.since) AS since FROM queue_recipient r
        WHERE r.state = 1 AND r.since < now() - interval '3 hours' AND NOT EXISTS (
            SELECT FROM lease l WHERE l.key = 'queue/' || r.shard AND l.until > now() - interval '1 hour')
        GROUP BY r.shard
        """,
        "no smtp-out runs, or none can reach the database: the next one that owns the shard goes on",
    ),
    Rule(
        "stray-queue-reference",
        "a blob is held for the queue by a message that is done or not there, and is then never collected",
        """
        SELECT 0 AS account_id, f.ref_id AS queue_message, encode(f.blob_key, 'hex') AS blob FROM blob_ref f
        WHERE f.account_id = 0 AND f.kind = 2 AND NOT EXISTS (
            SELECT FROM queue_message q WHERE q.id = f.ref_id AND q.blob_key = f.blob_key AND q.done_at IS NULL)
        """,
    ),
    Rule(
        "alias-of-account",
        "an address is an account's own and an alias too, so mail to it goes to both",
        "SELECT l.account_id, a.id AS owner, a.address FROM alias l JOIN account a ON a.address = l.address",
        "decide who shall have it, and remove the alias or the account",
    ),
    Rule(
        "account-without-rows",
        "an account has no counter, so nothing can be stored for it",
        """
        SELECT a.id AS account_id, a.address FROM account a WHERE a.shard = 0 AND NOT EXISTS (
            SELECT FROM account_counter c WHERE c.account_id = a.id)
        """,
        "restore its rows from a backup, or delete the account and add it again",
    ),
    Rule(
        "account-outside-its-region",
        "an account is pinned to a region, and its shard is not registered there",
        """
        SELECT a.id AS account_id, a.address, a.shard, a.region FROM account a
        WHERE a.region <> '' AND a.region IS DISTINCT FROM (
            SELECT value ->> a.shard::text FROM cluster_setting WHERE name = 'shard_regions')
        """,
        "somebody changed rows by hand: register the right region, or move the account to a shard of its region",
    ),
)
"""Of the whole database; they take no argument."""

BLOB_RULES: Final = (
    Rule(
        "leaked-blob",
        "nothing refers to a blob, and it is not on the collector's list, so it stays for ever",
        """
        SELECT 0 AS account_id, encode(b.key, 'hex') AS blob, b.size FROM blob b
        WHERE b.key > $1 AND b.key <= $2 AND b.state = 1 AND b.touched_at IS NULL AND NOT EXISTS (
            SELECT FROM blob_ref f WHERE f.blob_key = b.key)
        """,
    ),
    Rule(
        "reference-to-nothing",
        "something refers to a blob that is not there, is being removed, or was never stored (law 3)",
        """
        SELECT f.account_id, f.kind, f.ref_id AS object, encode(f.blob_key, 'hex') AS blob, b.state
        FROM blob_ref f LEFT JOIN blob b ON b.key = f.blob_key
        WHERE f.blob_key > $1 AND f.blob_key <= $2 AND b.state IS DISTINCT FROM 1
        """,
        "restore the object from a backup of the blob store, and its row in blob with state 1",
    ),
)
"""Of the blobs, and of references to those, whose keys lie above $1 and not above $2."""
