"""Purging: what nobody needs any more goes, each call one bounded step that returns how many rows went.

Steps that could hurt somebody when done by an owner of the past carry its lease and change nothing under another epoch;
the rest only removes what the database's clock has ended. It schedules nothing.
"""

from datetime import timedelta
from typing import Final

from posthorn_model.ids import Epoch
from posthorn_storage.blobs.upkeep import BlobUpkeep
from posthorn_storage.codes import REF_UPLOAD
from posthorn_storage.database import Connection, Database, affected
from posthorn_storage.leases import Fence
from posthorn_storage.lookup.expiry import purge_expired
from posthorn_storage.nodes import NodeStore
from posthorn_storage.queue import sql as queue_sql
from posthorn_storage.shards.removals import Removals

PURGE_LEASE: Final = "roles/purge"
"""The lease of the role, unless the caller names a shard of it."""
DEDUPE_SECONDS: Final = 3600.0
DELIVERY_SECONDS: Final = 7 * 24 * 3600.0
"""Longer than a message stays in the queue: until then its delivery may be repeated (design law 7)."""
DONE_SECONDS: Final = 24 * 3600.0
SHARE_SECONDS: Final = 24 * 3600.0
"""Longer than it takes from offering a share to giving its rights."""

# The horizon moves with the rows: whoever asks for changes from behind it is told to start over.
CHANGES = """
WITH old AS (
    SELECT ctid AS place, account_id, modseq FROM change_log
    WHERE at < now() - make_interval(secs => $1) LIMIT $2
), counters AS (
    SELECT account_id FROM account_counter WHERE account_id IN (SELECT account_id FROM old)
    ORDER BY account_id FOR NO KEY UPDATE
), moved AS (
    UPDATE account_counter c SET horizon = greatest(c.horizon, o.modseq)
    FROM (SELECT account_id, max(modseq) AS modseq FROM old JOIN counters USING (account_id) GROUP BY account_id) AS o
    WHERE c.account_id = o.account_id
)
DELETE FROM change_log WHERE ctid = ANY (ARRAY(SELECT place FROM old))
"""

UPLOADS = """
WITH gone AS (
    DELETE FROM blob_ref WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM blob_ref WHERE expires_at < now() AND kind = $1
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING blob_key
), held AS (
    SELECT key FROM blob WHERE key IN (SELECT blob_key FROM gone) ORDER BY key FOR NO KEY UPDATE
), touched AS (
    UPDATE blob SET touched_at = now() FROM held WHERE blob.key = held.key
)
SELECT count(*) FROM gone
"""

DEDUPE = """
DELETE FROM delivery_seen WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM delivery_seen
    WHERE at < now() - make_interval(secs => $1)
        AND (substr(key, 1, 1) = 'd'::bytea OR at < now() - make_interval(secs => $2))
    ORDER BY at LIMIT $3))
"""

# A way to what an account has on another database cannot be judged here; one that leads nowhere harms nobody.
SHARES = """
WITH old AS (
    SELECT grantee_id, owner_id FROM share WHERE at < now() - make_interval(secs => $1)
    ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
), judged AS (
    SELECT old.*, NOT EXISTS (SELECT 1 FROM account a WHERE a.id = owner_id AND a.shard <> 0) AND NOT EXISTS (
        SELECT 1 FROM mailbox_right r
        WHERE r.account_id = owner_id AND r.grantee_id = old.grantee_id AND NOT r.negative) AS unused
    FROM old
), looked_at AS (
    UPDATE share s SET at = now() FROM judged j
    WHERE s.grantee_id = j.grantee_id AND s.owner_id = j.owner_id AND NOT j.unused
), gone AS (
    DELETE FROM share s USING judged j
    WHERE s.grantee_id = j.grantee_id AND s.owner_id = j.owner_id AND j.unused RETURNING 1
)
SELECT count(*) FROM gone
"""


class Purge:
    """See the module. `duplicate_window` is the mail store's, in seconds.

    All methods raise Unavailable and Overloaded.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobUpkeep,
        nodes: NodeStore,
        removal: Removals,
        *,
        duplicate_window: float,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._nodes = nodes
        self._removal = removal
        self._digests = max(DEDUPE_SECONDS, duplicate_window)

    async def purge_blobs(self, epoch: Epoch, limit: int, *, key: str = PURGE_LEASE) -> int:
        """Remove blobs that nothing has referred to for the grace time (flows.md E)."""
        return await self._blobs.collect(Fence(key, epoch), limit)

    async def purge_changes(self, epoch: Epoch, keep: timedelta, limit: int, *, key: str = PURGE_LEASE) -> int:
        """Remove entries of the change log older than `keep`."""

        async def work(connection: Connection) -> int:
            if not await Fence(key, epoch).hold(connection):
                return 0
            return affected(await connection.execute(CHANGES, keep.total_seconds(), limit))

        return await self._database.run(work)

    async def purge_uploads(self, limit: int) -> int:
        """Let go of uploads whose time has ended; their blobs follow after the grace time."""
        count: int = await self._database.fetchval(UPLOADS, REF_UPLOAD, limit)
        return count

    async def purge_dedupe(self, limit: int) -> int:
        """Forget digests of deliveries after an hour and delivery ids after a week."""
        return await self._database.execute(DEDUPE, self._digests, DELIVERY_SECONDS, limit)

    async def purge_lookups(self, limit: int) -> int:
        """Remove counters, limits and other short-lived state that has ended."""
        return await purge_expired(self._database, limit)

    async def purge_queue_done(self, limit: int, *, keep: timedelta = timedelta(seconds=DONE_SECONDS)) -> int:
        """Remove messages whose last recipient was done `keep` ago, with their time lines."""
        return await self._database.execute(queue_sql.PURGE, keep.total_seconds(), limit)

    async def purge_processes(self, limit: int, *, older_than: timedelta = timedelta(days=1)) -> int:
        """Remove rows of processes that left or died."""
        return await self._nodes.forget_dead(older_than.total_seconds(), limit)

    async def purge_accounts(self, limit: int) -> int:
        """Go on removing what accounts held whose removal was cut short."""
        return await self._removal.step(limit)

    async def purge_shares(self, limit: int, *, keep: timedelta = timedelta(seconds=SHARE_SECONDS)) -> int:
        """Look at no more than `limit` ways to shared mailboxes that are older than `keep`; remove those to nothing."""
        count: int = await self._database.fetchval(SHARES, keep.total_seconds(), limit)
        return count
