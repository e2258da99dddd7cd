"""References to blobs inside somebody else's transaction: the only door through which blob_ref rows come and go.

A writer calls `attach` and then `refer` in the transaction that inserts its own rows; a remover calls `release`.
The transactions must be READ COMMITTED. `attach` locks blob rows FOR KEY SHARE, in key order, until the commit, and the
collector locks them FOR UPDATE before it looks for references: so either it sees the new reference, or the writer sees
that the blob is being removed (flows.md E). Nothing here touches the object store.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey
from posthorn_model.mail import PreparedBlob
from posthorn_storage.codes import LIVE, PENDING
from posthorn_storage.database import Connection
from posthorn_storage.database.plans import few, one_plan

# $5 whether they are expected to be let go soon: then they are on the collector's list from the beginning.
STORE_INLINE = """
INSERT INTO blob (key, size, state, encoding, inline, touched_at)
SELECT key, size, 1, encoding, inline, CASE WHEN $5::bool THEN now() END
FROM unnest($1::bytea[], $2::bigint[], $3::smallint[], $4::bytea[]) AS new (key, size, encoding, inline)
ORDER BY key
ON CONFLICT (key) DO NOTHING
"""

LOCK = one_plan("SELECT key, state FROM blob WHERE key = ANY ($1::bytea[]) ORDER BY key FOR KEY SHARE")

# Another writer of equal content died, or is still sending it to the object store: the bytes at hand end its wait.
FILL_PENDING = """
UPDATE blob SET state = 1, encoding = new.encoding, inline = new.inline
FROM unnest($1::bytea[], $2::smallint[], $3::bytea[]) AS new (key, encoding, inline)
WHERE blob.key = new.key AND blob.state = 0
"""

REFER = """
INSERT INTO blob_ref (blob_key, kind, account_id, ref_id, content_type, expires_at)
SELECT key, $1, account_id, ref_id, $5, $6
FROM unnest($2::bytea[], $3::bigint[], $4::bigint[]) AS new (key, account_id, ref_id)
ON CONFLICT (blob_key, kind, account_id, ref_id)
DO UPDATE SET expires_at = EXCLUDED.expires_at, content_type = EXCLUDED.content_type
"""


# Blobs are locked in the order of their keys, as everywhere, also those that are on the collector's list already: it
# judges under the same lock, and what it took off the list meanwhile is seen here and put there again. That version of
# the row is not in this statement's snapshot, so it is found by its key, and not by its place.
TOUCH_GONE = """
held AS MATERIALIZED (
    SELECT key, touched_at FROM blob WHERE key IN (SELECT blob_key FROM gone) ORDER BY key FOR NO KEY UPDATE
), touched AS (
    UPDATE blob SET touched_at = now() FROM held
    WHERE blob.key = held.key AND (held.touched_at IS NULL OR held.touched_at < now() - interval '1 minute')
)"""
"""For a statement that has removed references as `gone`: their blobs are on the collector's list now.

Those that have been on it for less than a minute stay as they are: to write them again would cost a new version of the
content, too, and entries in two indexes.
"""


def letting_go(which: str) -> str:
    """The statement that removes references and puts their blobs on the collector's list; it returns how many went.

    `which` is what follows DELETE FROM blob_ref.
    """
    return f"""
WITH gone AS (
    DELETE FROM blob_ref {which} RETURNING blob_key
), {TOUCH_GONE}
SELECT count(*) FROM gone
"""  # noqa: S608  constants of the library only


RELEASE = letting_go(f"""
    USING {few("$2::bigint[], $3::bigint[]", "account_id, ref_id", "old")}
    WHERE blob_ref.account_id = old.account_id AND blob_ref.kind = $1 AND blob_ref.ref_id = old.ref_id""")

_ROUNDS = 4


async def attach(connection: Connection, blobs: Collection[PreparedBlob], *, passing: bool = False) -> None:
    """Make every blob referable until the end of this transaction; small ones are stored here.

    `passing` ones are expected to be let go within a minute, which costs less then. Raises Unavailable when a blob is
    being collected, or was not stored in time: prepare it again and start over.
    """
    wanted = {blob.key: blob for blob in blobs}
    missing = wanted
    for _ in range(_ROUNDS):
        inline = [blob for blob in missing.values() if blob.inline is not None]
        await _store_inline(connection, inline, passing=passing)
        states = {row["key"]: row["state"] for row in await connection.fetch(LOCK, list(wanted))}
        missing = {key: blob for key, blob in wanted.items() if key not in states}
        if not missing:
            break
    pending = [wanted[key] for key, state in states.items() if state == PENDING and wanted[key].inline is not None]
    if pending:
        await connection.execute(
            FILL_PENDING, [b.key for b in pending], [b.encoding for b in pending], [b.inline for b in pending]
        )
        states.update((blob.key, LIVE) for blob in pending)
    lost = [key.hex() for key in wanted if states.get(key) != LIVE]
    if lost:
        raise Unavailable(step="attach", blobs=lost[:8])


async def refer(
    connection: Connection,
    kind: int,
    keys: Sequence[BlobKey],
    accounts: Sequence[int],
    ref_ids: Sequence[int],
    *,
    content_type: str | None = None,
    expires_at: datetime | None = None,
) -> None:
    """Insert references (three arrays of equal length) of one kind (schema.blob.REF_...); `account` 0 is nobody's.

    The keys must have gone through `attach` in this transaction, or be referenced by a row whose removal the caller
    holds off (a copy of a message under the account's lock).
    """
    await connection.execute(REFER, kind, keys, accounts, ref_ids, content_type, expires_at)


async def release(connection: Connection, kind: int, accounts: Sequence[int], ref_ids: Sequence[int]) -> None:
    """Remove references (two arrays of equal length) of one kind and put their blobs on the collector's list."""
    await connection.execute(RELEASE, kind, accounts, ref_ids)


async def _store_inline(connection: Connection, blobs: Sequence[PreparedBlob], *, passing: bool) -> None:
    if blobs:
        await connection.execute(
            STORE_INLINE,
            [blob.key for blob in blobs],
            [blob.size for blob in blobs],
            [blob.encoding for blob in blobs],
            [blob.inline for blob in blobs],
            passing,
        )
