"""What operators do to queued mail: hold, release, reschedule and cancel, one recipient or all that a filter means.

Only what waits is changed: an attempt under way ends by itself. A million recipients are changed in batches, each a
transaction of its own, so that nobody waits for all of them; what comes in meanwhile is not meant.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias

from posthorn_storage.database import Connection, Database
from posthorn_storage.queue.selection import MESSAGES, RECIPIENTS, QueueFilter
from posthorn_storage.queue.sql import FAR

Action: TypeAlias = Literal["hold", "release", "reschedule", "cancel"]
BATCH: Final = 2000

COUNT = f"""
SELECT count(*) AS recipients, count(DISTINCT m.id) AS messages, count(*) FILTER (WHERE r.state = 1) AS in_flight,
    coalesce(max(r.id), 0) AS last
FROM queue_recipient r JOIN queue_message m ON m.id = r.message_id
WHERE m.done_at IS NULL AND r.state IN (0, 1) AND r.due IS NOT NULL AND {MESSAGES} AND {RECIPIENTS}
"""  # noqa: S608  constants only

# $1-$9 the filter, $10-$11 numbers of recipients from above the one to the other, $12 how many. Sets `chosen`.
_CHOSEN = f"""chosen AS MATERIALIZED (
    SELECT r.id, r.ctid AS place
    FROM queue_recipient r JOIN queue_message m ON m.id = r.message_id
    WHERE r.id > $10 AND r.id <= $11 AND r.state = 0 AND {{which}} AND {MESSAGES} AND {RECIPIENTS}
    ORDER BY r.id LIMIT $12 FOR NO KEY UPDATE OF r
), changed AS (
    UPDATE queue_recipient r SET {{change}} FROM chosen
    WHERE r.ctid = chosen.place RETURNING r.id, r.message_id, r.attempt, r.shard
), noted AS (
    INSERT INTO queue_event (message_id, recipient_id, kind, attempt, reply)
    SELECT message_id, id, '{{kind}}', attempt, $13::text FROM changed
)
SELECT id, message_id, shard FROM changed"""  # noqa: S608  constants only


def _statement(which: str, change: str, kind: str) -> str:
    return "WITH " + _CHOSEN.format(which=which, change=change, kind=kind)


STATEMENTS: Final[Mapping[Action, str]] = {
    "hold": _statement(
        "r.parked IS DISTINCT FROM 0",
        f"parked = 0, resume_due = coalesce(r.resume_due, r.due), due = {FAR}",
        "held",
    ),
    "release": _statement("r.parked = 0", "parked = NULL, due = r.resume_due, resume_due = NULL", "released"),
    "cancel": _statement("true", "state = 4, due = NULL, parked = NULL, resume_due = NULL", "cancelled"),
    "reschedule": _statement(
        "true",
        "due = CASE WHEN r.parked IS NULL THEN coalesce($14::timestamptz, now()) ELSE r.due END, "
        "resume_due = CASE WHEN r.parked IS NOT NULL THEN coalesce($14::timestamptz, now()) END",
        "retry",
    ),
}


@dataclass(frozen=True, slots=True)
class Meant:
    """What a filter means now: open recipients, their messages, and how many of them are in flight at the moment."""

    recipients: int
    messages: int
    in_flight: int
    last: int = field(repr=False, default=0)
    """The highest number of a recipient: what comes later is not meant."""


@dataclass(frozen=True, slots=True)
class Done:
    """How many recipients were changed, and in which shards."""

    recipients: int
    shards: Collection[int]


Close: TypeAlias = Callable[[Connection, Collection[int]], Awaitable[None]]
"""Marks those messages done that have no open recipient any more."""


class Operations:
    """All methods raise Unavailable, Overloaded."""

    def __init__(self, database: Database, close: Close) -> None:
        self._database = database
        self._close = close

    async def meant(self, wanted: QueueFilter) -> Meant:
        """Count what a filter means, before anything is done to it."""
        (row,) = await self._database.fetch(COUNT, *wanted.of_messages, *wanted.of_recipients)
        return Meant(row["recipients"], row["messages"], row["in_flight"], row["last"])

    async def apply(
        self, action: Action, wanted: QueueFilter, *, note: str = "", at: datetime | None = None, batch: int = BATCH
    ) -> Done:
        """Do it to everything that waits and is meant when this begins; `at` is for rescheduling, None: now.

        `note` goes to the time line. Cut short, it has done part of it; a repeat does the rest.
        """
        last, after, count = (await self.meant(wanted)).last, 0, 0
        shards: set[int] = set()
        told = " ".join(note.split())[:200]
        more: Sequence[object] = (at,) if action == "reschedule" else ()

        while True:

            async def work(connection: Connection, after: int = after) -> list[tuple[int, int, int]]:
                rows = await connection.fetch(
                    STATEMENTS[action], *wanted.of_messages, *wanted.of_recipients, after, last, batch, told, *more
                )
                if action == "cancel":
                    await self._close(connection, {row["message_id"] for row in rows})
                return [(row["id"], row["message_id"], row["shard"]) for row in rows]

            changed = await self._database.run(work)
            if not changed:
                return Done(count, sorted(shards))
            count += len(changed)
            shards.update(shard for _, _, shard in changed)
            after = max(number for number, _, _ in changed)
