"""Pauses: what an operator stops for a while, everything, a site or a route, and the recipients that are stopped by it.

A recipient that is stopped has a due time in a far future, so that neither a claim nor what looks for due rows ever
sees it, and the pause's number in `parked`. Owners park what they meet; nobody parks under a pause that was lifted,
since both lock its row. What was parked is let go in batches by any smtp-out, then the row of the pause goes too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from posthorn_model.errors import InvalidName, NotFound, TooMany
from posthorn_model.ids import Epoch
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.queue.attempts import lease_of
from posthorn_storage.queue.sql import PARK

Scope: TypeAlias = Literal["everything", "site", "route"]
MAX_PAUSES: Final = 1000
"""Every smtp-out reads all of them every second."""
MAX_NAME: Final = 300
MAX_REASON: Final = 200
RESUME_BATCH: Final = 5000

STANDING = "SELECT count(*) FROM queue_pause WHERE lifted_at IS NULL"

PUT = """
INSERT INTO queue_pause (scope, name, reason, until) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
ON CONFLICT (scope, name) WHERE lifted_at IS NULL DO UPDATE SET reason = EXCLUDED.reason, until = EXCLUDED.until
RETURNING *
"""

LIFT = "UPDATE queue_pause SET lifted_at = now() WHERE scope = $1 AND name = $2 AND lifted_at IS NULL RETURNING id"

LIFT_OVER = "UPDATE queue_pause SET lifted_at = now() WHERE lifted_at IS NULL AND until <= now()"

ALL = "SELECT *, coalesce(until <= now(), false) AS over FROM queue_pause ORDER BY id"

STOPPED = "SELECT parked, count(*) FROM queue_recipient WHERE parked IS NOT NULL GROUP BY parked"

# Whoever comes first takes a batch; what another one holds at the moment is his.
RESUME = """
WITH chosen AS MATERIALIZED (
    SELECT ctid AS place FROM queue_recipient
    WHERE parked IS NOT NULL AND parked = ANY ($1::bigint[]) LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
), resumed AS (
    UPDATE queue_recipient r SET parked = NULL, due = r.resume_due, resume_due = NULL
    FROM chosen WHERE r.ctid = chosen.place RETURNING r.id, r.message_id, r.attempt, r.shard
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt) SELECT message_id, id, 'resumed', attempt
    FROM resumed
)
SELECT shard, count(*) FROM resumed GROUP BY shard ORDER BY shard
"""

FORGET = """
DELETE FROM queue_pause p WHERE lifted_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM queue_recipient WHERE parked IS NOT NULL AND parked = p.id)
"""


@dataclass(frozen=True, slots=True)
class Pause:
    """What is stopped, why, and until when (None: until it is lifted). `lifted`: what it stopped is let go now."""

    id: int
    scope: Scope
    name: str
    """Of a site (A-labels) or a route (the name of a relay or "host:port"); "" for everything."""
    reason: str
    since: datetime
    until: datetime | None
    lifted: bool


class PauseStore:
    """All methods raise Unavailable, Overloaded."""

    def __init__(self, database: Database, *, doubt_seconds: float, lost_seconds: float) -> None:
        self._database = database
        self._doubt = doubt_seconds
        self._lost = lost_seconds

    async def put(self, scope: Scope, name: str, reason: str, seconds: float | None = None) -> Pause:
        """Stop something for so long, None: until it is lifted. Raises InvalidName, TooMany."""
        if (scope == "everything") == bool(name) or len(name) > MAX_NAME:
            raise InvalidName("a pause is of everything, or of a site or a route with its name")

        async def work(connection: Connection) -> Row:
            if await connection.fetchval(STANDING) >= MAX_PAUSES:
                raise TooMany(f"there are {MAX_PAUSES} pauses already: pause routes, or everything")
            row: Row = await connection.fetchrow(PUT, scope, name, " ".join(reason.split())[:MAX_REASON], seconds)
            return row

        return _pause(await self._database.run(work))

    async def lift(self, scope: Scope, name: str) -> None:
        """End a pause; what it stopped is let go within seconds. Raises NotFound."""
        if await self._database.fetchval(LIFT, scope, name) is None:
            raise NotFound("that is not paused", scope=scope, name=name)

    async def all(self) -> Sequence[Pause]:
        """Those that stand, and those that are lifted and still have recipients to let go."""
        rows = await self._database.fetch(ALL)
        if any(row["over"] and row["lifted_at"] is None for row in rows):
            await self._database.execute(LIFT_OVER)
        return [_pause(row) for row in rows]

    async def stopped(self) -> Mapping[int, int]:
        """How many recipients each pause stops, by its number; 0 is for those that an operator holds."""
        return {row["parked"]: row["count"] for row in await self._database.fetch(STOPPED)}

    async def park(self, shard: int, epoch: Epoch, stopped: Mapping[int, int]) -> int:
        """Put recipients of an owned shard (keys) out of sight until their pauses (values) end; returns how many."""
        ids = sorted(stopped)
        count: int = await self._database.fetchval(
            PARK, [lease_of(shard)], [epoch], [shard], ids, [stopped[one] for one in ids], self._doubt, self._lost
        )
        return count

    async def resume(self, limit: int = RESUME_BATCH) -> Mapping[int, int]:
        """Let go a batch of what lifted pauses stopped; how many of each shard, nothing when none is left."""
        lifted = [pause.id for pause in await self.all() if pause.lifted]
        if not lifted:
            return {}
        found = {row["shard"]: row["count"] for row in await self._database.fetch(RESUME, lifted, limit)}
        if not found:
            await self._database.execute(FORGET)
        return found


def _pause(row: Row) -> Pause:
    over = "over" in row.keys() and row["over"]  # noqa: SIM118  a record, no mapping
    return Pause(
        id=row["id"],
        scope=row["scope"],
        name=row["name"],
        reason=row["reason"],
        since=row["since"],
        until=row["until"],
        lifted=over or row["lifted_at"] is not None,
    )
