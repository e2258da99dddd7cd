"""Sites that are spread: their recipients stand in several shards, so that several workers serve them at once.

A site's home is the shard of its name's hash. Whether it is spread, and over how many shards from there on, is a row
that only the owner of its home writes, under the lease of that shard: who owns a home has the whole limit of each of
its sites that has no such row, and of the others what is shared out (shares.py). The place of a recipient follows from
that row and its address; who owns the shard where one stands that belongs elsewhere puts it there.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from posthorn_model.ids import Epoch
from posthorn_storage.database import Connection, Database
from posthorn_storage.queue.attempts import lease_of
from posthorn_storage.queue.shares import LOCK
from posthorn_storage.queue.sql import FENCE, IN_DOUBT

SAMPLE: Final = 50_000
"""Rows that are looked at, at most, to see how deep a site is."""
SETTLED: Final = 600.0
"""Seconds for which a site stays spread at least."""

ALL = "SELECT site, home, spread FROM queue_spread"

# $4 the site, $5 over how many shards.
PUT = f"""
WITH {FENCE}
INSERT INTO queue_spread AS s (site, home, spread) SELECT $4, fence.shard, $5::smallint FROM fence
ON CONFLICT (site) DO UPDATE SET spread = EXCLUDED.spread WHERE s.home = EXCLUDED.home
RETURNING site
"""  # noqa: S608  constants only

# Not while anybody may have a connection: the owner of its home is to have all of them.
REMOVE = f"""
WITH {FENCE}
DELETE FROM queue_spread s USING fence WHERE s.site = $4 AND s.home = fence.shard
    AND s.since <= now() - make_interval(secs => $5)
    AND NOT EXISTS (SELECT FROM queue_share h WHERE h.name = s.site AND h.until > now() AND h.connections > 0)
RETURNING s.site
"""  # noqa: S608  constants only

# $4 recipients of one shard and $5 where they belong; seconds of doubt: $6, $7. An attempt whose end is unknown is in
# doubt wherever it is made again.
PLACE = f"""
WITH {FENCE}, open AS MATERIALIZED (
    SELECT r.*, w.place AS shard
    FROM unnest($4::bigint[], $5::smallint[]) AS w (id, place), fence, LATERAL (
        SELECT r.ctid AS row, r.state FROM queue_recipient r
        WHERE r.id = w.id AND r.shard = fence.shard AND r.parked IS NULL
            AND (r.state = 0 OR {IN_DOUBT.format(epoch="fence.epoch", doubt="$6", lost="$7")})
        FOR NO KEY UPDATE) AS r
), placed AS (
    UPDATE queue_recipient r SET
        shard = open.shard, state = 0, since = NULL, doubts = least(r.doubts + open.state, 32000)
    FROM open WHERE r.ctid = open.row
    RETURNING r.id, r.message_id, r.attempt, open.state AS was
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt)
    SELECT message_id, id, 'in-doubt', attempt FROM placed WHERE was = 1
)
SELECT count(*) FROM placed
"""  # noqa: S608  constants only

# The longest due are looked at: whether one site has most of them.
DEEP = """
SELECT site, count(*) FROM (
    SELECT site FROM queue_recipient WHERE shard = $1 AND state IN (0, 1) AND due <= now() ORDER BY due LIMIT $2
) AS due GROUP BY site HAVING count(*) >= $3
"""


def salt(address: str) -> int:
    """What spreads the recipients of one site: the same on every node, for ever; under 2**31."""
    return int.from_bytes(hashlib.blake2b(address.encode(errors="replace"), digest_size=4).digest(), "big") >> 1


class SpreadStore:
    """All methods raise Unavailable, Overloaded. `shards` is the cluster's number of them."""

    def __init__(self, database: Database, shards: int, *, doubt_seconds: float, lost_seconds: float) -> None:
        self._database = database
        self._shards = shards
        self._doubt = doubt_seconds
        self._lost = lost_seconds

    def place(self, home: int, spread: int, address: str) -> int:
        """The shard of a recipient of a site with this home that is spread over so many; 1: over one."""
        return home if spread <= 1 else (home + salt(address) % spread) % self._shards

    async def all(self) -> Mapping[str, int]:
        """All sites that are spread, and over how many shards."""
        return {row["site"]: row["spread"] for row in await self._database.fetch(ALL)}

    async def put(self, site: str, spread: int, shard: int, epoch: Epoch) -> bool:
        """Spread a site, as the owner of its home; False for an owner of the past.

        None of its connections may be open when it was not spread before: from now on others may open some.
        """
        row = await self._database.fetchval(
            PUT, [lease_of(shard)], [epoch], [shard], site, max(2, min(spread, self._shards))
        )
        return row is not None

    async def remove(self, site: str, shard: int, epoch: Epoch) -> bool:
        """Spread a site no longer, as the owner of its home; False where that may not be now.

        It may not while others may have connections to it, nor so soon after it was spread.
        """

        async def work(connection: Connection) -> bool:
            await connection.execute(LOCK, [site])
            return bool(await connection.fetch(REMOVE, [lease_of(shard)], [epoch], [shard], site, SETTLED))

        return await self._database.run(work)

    async def move(self, shard: int, epoch: Epoch, places: Mapping[int, int]) -> int:
        """Put recipients of an owned shard (keys) where they belong (values); returns how many."""
        ids = sorted(places)
        count: int = await self._database.fetchval(
            PLACE, [lease_of(shard)], [epoch], [shard], ids, [places[each] for each in ids], self._doubt, self._lost
        )
        return count

    async def deep(self, shard: int, least: int) -> Mapping[str, int]:
        """Sites of which at least so many recipients are due in a shard, among those that are due the longest."""
        rows = await self._database.fetch(DEEP, shard, min(2 * least, SAMPLE), least)
        return {row["site"]: row["count"] for row in rows}
