"""Purging: what nobody needs any more goes, each call one bounded step that returns how many rows went.

A step that is given a fence holds it in the transaction that removes, on whatever database, and removes nothing once
the lease has another epoch. What only removes what the database's clock has ended can be done without. Work is shared
out by databases (`on`, by number, all when not said) or by accounts (`share`). It schedules nothing.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

from posthorn_model.ids import Epoch
from posthorn_storage.blobs.attach import letting_go
from posthorn_storage.blobs.upkeep import BlobUpkeep
from posthorn_storage.codes import REF_UPLOAD
from posthorn_storage.database import Connection, Database, affected
from posthorn_storage.leases import Fence
from posthorn_storage.lookup.expiry import purge_expired
from posthorn_storage.mail.kinds import FILE, FOLDER, NAMED, VANISHED
from posthorn_storage.nodes import FORGET
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
T = TypeVar("T")

# The horizon moves with the rows: whoever asks for changes from behind it is told to start over.
CHANGES = """
WITH old AS (
    SELECT ctid AS place, account_id, modseq FROM change_log
    WHERE at < now() - make_interval(secs => $1) AND ($3::int = 1 OR mod(account_id, $3::int) = $4::int)
    ORDER BY at LIMIT $2
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
LONG = """
SELECT account_id FROM account_counter
WHERE modseq - horizon > $1::bigint + $1 / 10 AND mod(account_id, $3::int) = $4::int LIMIT $2
"""

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

PUSHES = """
DELETE FROM push_subscription WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM push_subscription
    WHERE expires_at < now() AND mod(account_id, $2::int) = $3::int
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))
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


@dataclass(frozen=True, slots=True)
class Share:
    """A part of what is to be done: accounts (or databases) whose number leaves `part` when divided by `parts`."""

    part: int = 0
    parts: int = 1

    def has(self, number: int) -> bool:
        """Whether this number belongs to it."""
        return number % self.parts == self.part


WHOLE: Final = Share()


class Purge:
    """See the module. `databases` are all of the cluster, the home first; `duplicate_window` is in seconds.

    All methods raise Unavailable and Overloaded.
    """

    def __init__(
        self,
        databases: Sequence[Database],
        blobs: BlobUpkeep,
        removal: Removals,
        *,
        duplicate_window: float,
    ) -> None:
        self._databases = databases
        self._database = databases[0]
        self._blobs = blobs
        self._removal = removal
        self._deliveries = max(DELIVERY_SECONDS, duplicate_window)

    @property
    def databases(self) -> int:
        """How many databases there are; the home has the number 0."""
        return len(self._databases)

    async def purge_blobs(self, epoch: Epoch, limit: int, *, key: str = PURGE_LEASE, on: int | None = None) -> int:
        """Remove blobs that nothing has referred to for the grace time (flows.md E)."""
        return await self._blobs.collect(Fence(key, epoch), limit, on=on)

    async def purge_changes(
        self,
        epoch: Epoch,
        keep: timedelta,
        limit: int,
        *,
        most: int = MOST_CHANGES,
        key: str = PURGE_LEASE,
        share: Share = WHOLE,
    ) -> int:
        """Remove entries of the change log older than `keep`, and those further back than `most` changes."""
        fence = Fence(key, epoch)

        async def old(database: Database, limit: int) -> int:
            seconds = keep.total_seconds()
            return await self._value(fence, database, CHANGES, seconds, limit, share.parts, share.part) or 0

        async def long(database: Database, limit: int) -> int:
            return await self._trim(fence, database, most, limit, share)

        removed = await self._everywhere(limit, old)
        return removed + await self._everywhere(limit - removed, long)

    async def purge_uploads(self, limit: int, *, fence: Fence | None = None, on: int | None = None) -> int:
        """Let go of uploads whose time has ended; their blobs follow after the grace time."""

        async def work(database: Database, limit: int) -> int:
            return await self._value(fence, database, UPLOADS, REF_UPLOAD, limit) or 0

        return await self._everywhere(limit, work, on)

    async def purge_dedupe(self, limit: int, *, fence: Fence | None = None, on: int | None = None) -> int:
        """Forget deliveries after a week. Digests of content count for a window only, and most go with their reply."""

        async def work(database: Database, limit: int) -> int:
            return await self._count(fence, database, DEDUPE, self._deliveries, limit)

        return await self._everywhere(limit, work, on)

    async def purge_lookups(self, limit: int, *, fence: Fence | None = None) -> int:
        """Remove counters, limits and other short-lived state that has ended."""

        async def work(connection: Connection) -> int:
            return await purge_expired(connection, limit)

        return await self._fenced(fence, self._database, work) or 0

    async def purge_queue_done(
        self, limit: int, *, keep: timedelta = timedelta(seconds=DONE_SECONDS), fence: Fence | None = None
    ) -> int:
        """Remove messages whose last recipient was done `keep` ago, with their time lines."""
        return await self._count(fence, self._database, queue_sql.PURGE, keep.total_seconds(), limit)

    async def purge_processes(
        self, limit: int, *, older_than: timedelta = timedelta(days=1), fence: Fence | None = None
    ) -> int:
        """Remove rows of processes that left or died."""
        return await self._count(fence, self._database, FORGET, older_than.total_seconds(), limit)

    async def purge_accounts(self, limit: int, *, fence: Fence | None = None, share: Share = WHOLE) -> int:
        """Go on removing what accounts held whose removal was cut short."""
        return await self._removal.step(limit, fence=fence, part=share.part, parts=share.parts)

    async def purge_pushes(self, limit: int, *, fence: Fence | None = None, share: Share = WHOLE) -> int:
        """Remove push subscriptions that have expired, wherever they are."""

        async def work(database: Database, limit: int) -> int:
            return await self._count(fence, database, PUSHES, limit, share.parts, share.part)

        return await self._everywhere(limit, work)

    async def purge_shares(
        self, limit: int, *, keep: timedelta = timedelta(seconds=SHARE_SECONDS), fence: Fence | None = None
    ) -> int:
        """Look at no more than `limit` ways to shared mailboxes that are older than `keep`; remove those to nothing."""
        return await self._value(fence, self._database, SHARES, keep.total_seconds(), limit) or 0

    async def _everywhere(
        self, limit: int, work: Callable[[Database, int], Awaitable[int]], on: int | None = None
    ) -> int:
        """Do `work` on one database after the other until `limit` rows are gone."""
        removed = 0
        for database in self._databases if on is None else self._databases[on : on + 1]:
            if removed < limit:
                removed += await work(database, limit - removed)
        return removed

    async def _trim(self, fence: Fence, database: Database, most: int, limit: int, share: Share) -> int:
        removed = 0
        for row in await database.fetch(LONG, most, limit, share.parts, share.part):
            while removed < limit:
                gone = await self._value(fence, database, TRIM, row["account_id"], most, limit, _KINDS)
                if gone is None:
                    break
                removed += gone
        return removed

    async def _value(self, fence: Fence | None, database: Database, statement: str, *arguments: object) -> Any:
        """What a statement returns, run under the lease; None when it, or the lease, found nothing."""

        async def work(connection: Connection) -> Any:
            return await connection.fetchval(statement, *arguments)

        return await self._fenced(fence, database, work)

    async def _count(self, fence: Fence | None, database: Database, statement: str, *arguments: object) -> int:
        """How many rows a statement changed, run under the lease."""

        async def work(connection: Connection) -> int:
            return affected(await connection.execute(statement, *arguments))

        return await self._fenced(fence, database, work) or 0

    async def _fenced(
        self, fence: Fence | None, database: Database, work: Callable[[Connection], Awaitable[T]]
    ) -> T | None:
        if fence is None:
            return await database.run(work)
        hold = fence.hold if database is self._database else fence.hold_away

        async def held(connection: Connection) -> T | None:
            return await work(connection) if await hold(connection) else None

        return await database.run(held)
