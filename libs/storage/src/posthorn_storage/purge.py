"""Purging: what nobody needs any more goes, each call one bounded step that returns how many rows went.

Steps that could hurt somebody when done by an owner of the past carry its lease and change nothing under another epoch;
the rest only removes what the database's clock has ended. It schedules nothing.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from posthorn_model.ids import Epoch
from posthorn_storage.blobs.attach import letting_go
from posthorn_storage.blobs.upkeep import BlobUpkeep
from posthorn_storage.codes import REF_UPLOAD
from posthorn_storage.database import Connection, Database
from posthorn_storage.leases import Fence
from posthorn_storage.lookup.expiry import purge_expired
from posthorn_storage.mail.kinds import FILE, FOLDER, NAMED, VANISHED
from posthorn_storage.nodes import NodeStore
from posthorn_storage.queue import sql as queue_sql
from posthorn_storage.shards.removals import Removals

PURGE_LEASE: Final = "roles/purge"
"""The lease of the role, unless the caller names a shard of it."""
DELIVERY_SECONDS: Final = 7 * 24 * 3600.0
"""Longer than a message stays in the queue: until then its delivery may be repeated (design law 7)."""
DONE_SECONDS: Final = 24 * 3600.0
SHARE_SECONDS: Final = 24 * 3600.0
"""Longer than it takes from offering a share to giving its rights."""
MOST_CHANGES: Final = 1_000_000
"""Of one account."""
_KINDS: Final = [*NAMED, VANISHED, FOLDER, FILE]

# The horizon moves with the rows: whoever asks for changes from behind it is told to start over.
CHANGES = """
WITH old AS (
    SELECT ctid AS place, account_id, modseq FROM change_log
    WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2
), counters AS (
    SELECT account_id FROM account_counter WHERE account_id IN (SELECT account_id FROM old)
    ORDER BY account_id FOR NO KEY UPDATE
), moved AS (
    UPDATE account_counter c SET horizon = greatest(c.horizon, o.modseq)
    FROM (SELECT account_id, max(modseq) AS modseq FROM old JOIN counters USING (account_id) GROUP BY account_id) AS o
    WHERE c.account_id = o.account_id
), gone AS (
    DELETE FROM change_log WHERE ctid = ANY (ARRAY(SELECT place FROM old)) RETURNING 1
)
SELECT count(*) FROM gone
"""

# A tenth more than is kept may gather, so that an account that changes all the time is not trimmed all the time.
LONG = "SELECT account_id FROM account_counter WHERE modseq - horizon > $1::bigint + $1 / 10 LIMIT $2"

# By the span of modseqs, which needs no counting: a modseq has one to three entries. $4 are all kinds, for the index.
TRIM = """
WITH long AS (
    SELECT account_id, least(modseq - $2::bigint, horizon + $3::bigint) AS until FROM account_counter
    WHERE account_id = $1 AND modseq - horizon > $2 FOR NO KEY UPDATE
), moved AS (
    UPDATE account_counter c SET horizon = long.until FROM long WHERE c.account_id = long.account_id
), gone AS (
    DELETE FROM change_log l USING long
    WHERE l.account_id = long.account_id AND l.kind = ANY ($4::smallint[]) AND l.modseq <= long.until RETURNING 1
)
SELECT (SELECT count(*) FROM gone) FROM long
"""

UPLOADS = letting_go("""WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM blob_ref WHERE expires_at < now() AND kind = $1
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))""")

DEDUPE = """
DELETE FROM delivery_seen WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM delivery_seen WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2))
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
    """See the module. `databases` are all of the cluster, the home first; `duplicate_window` is in seconds.

    All methods raise Unavailable and Overloaded.
    """

    def __init__(
        self,
        databases: Sequence[Database],
        blobs: BlobUpkeep,
        nodes: NodeStore,
        removal: Removals,
        *,
        duplicate_window: float,
    ) -> None:
        self._databases = databases
        self._database = databases[0]
        self._blobs = blobs
        self._nodes = nodes
        self._removal = removal
        self._deliveries = max(DELIVERY_SECONDS, duplicate_window)

    async def purge_blobs(self, epoch: Epoch, limit: int, *, key: str = PURGE_LEASE) -> int:
        """Remove blobs that nothing has referred to for the grace time (flows.md E)."""
        return await self._blobs.collect(Fence(key, epoch), limit)

    async def purge_changes(
        self, epoch: Epoch, keep: timedelta, limit: int, *, most: int = MOST_CHANGES, key: str = PURGE_LEASE
    ) -> int:
        """Remove entries of the change log older than `keep`, and those further back than `most` changes."""
        fence = Fence(key, epoch)

        async def old(database: Database, limit: int) -> int:
            return await self._fenced(fence, database, CHANGES, keep.total_seconds(), limit) or 0

        async def long(database: Database, limit: int) -> int:
            return await self._trim(fence, database, most, limit)

        removed = await self._everywhere(limit, old)
        return removed + await self._everywhere(limit - removed, long)

    async def purge_uploads(self, limit: int) -> int:
        """Let go of uploads whose time has ended; their blobs follow after the grace time."""

        async def work(database: Database, limit: int) -> int:
            count: int = await database.fetchval(UPLOADS, REF_UPLOAD, limit)
            return count

        return await self._everywhere(limit, work)

    async def purge_dedupe(self, limit: int) -> int:
        """Forget deliveries after a week. Digests of content count for a window only, and most go with their reply."""
        return await self._everywhere(limit, lambda database, some: database.execute(DEDUPE, self._deliveries, some))

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

    async def _everywhere(self, limit: int, work: Callable[[Database, int], Awaitable[int]]) -> int:
        """Do `work` on one database after the other until `limit` rows are gone."""
        removed = 0
        for database in self._databases:
            if removed < limit:
                removed += await work(database, limit - removed)
        return removed

    async def _trim(self, fence: Fence, database: Database, most: int, limit: int) -> int:
        removed = 0
        for row in await database.fetch(LONG, most, limit):
            while removed < limit:
                gone = await self._fenced(fence, database, TRIM, row["account_id"], most, limit, _KINDS)
                if gone is None:
                    break
                removed += gone
        return removed

    async def _fenced(self, fence: Fence, database: Database, statement: str, *arguments: object) -> Any:
        """Run a statement under the lease: how many rows it removed, 0 or None when it, or the lease, found nothing.

        Leases are at home. Elsewhere one is looked at before, which is enough for what only the database's clock ends.
        """

        async def work(connection: Connection) -> Any:
            if database is self._database and not await fence.hold(connection):
                return None
            return await connection.fetchval(statement, *arguments)

        if database is not self._database and not await self._database.run(fence.hold):
            return None
        return await database.run(work)
