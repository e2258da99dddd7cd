"""How much mail of each source was sent in the current day and hour: what a warm-up budget is counted with."""

from dataclasses import dataclass
from typing import Final

from posthorn_storage.database import Database

# Both limits hold, or nothing is counted. Who still believes in an earlier hour or day counts nothing either.
TAKE: Final = """
INSERT INTO queue_warm_up AS w (source, day, day_sent, hour, hour_sent) VALUES ($1, $2, 1, $3, 1)
ON CONFLICT (source) DO UPDATE SET
    day = EXCLUDED.day, day_sent = CASE WHEN w.day = EXCLUDED.day THEN w.day_sent ELSE 0 END + 1,
    hour = EXCLUDED.hour, hour_sent = CASE WHEN w.hour = EXCLUDED.hour THEN w.hour_sent ELSE 0 END + 1
WHERE w.day <= EXCLUDED.day AND w.hour <= EXCLUDED.hour
    AND (w.day < EXCLUDED.day OR w.day_sent < $4) AND (w.hour < EXCLUDED.hour OR w.hour_sent < $5)
RETURNING source
"""

ALL: Final = "SELECT * FROM queue_warm_up ORDER BY source"
NO_LIMIT: Final = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent from a source in its last day and hour, both as numbers since the epoch, in UTC."""

    source: str
    day: int
    day_sent: int
    hour: int
    hour_sent: int


class WarmUpCounts:
    """All methods raise Unavailable, Overloaded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, source: str, day: int, hour: int, day_limit: int | None, hour_limit: int | None) -> bool:
        """Count one message for a day and an hour, unless one of the limits is reached. None: no limit."""
        limits = [NO_LIMIT if each is None else each for each in (day_limit, hour_limit)]
        return await self._database.fetchval(TAKE, source, day, hour, *limits) is not None

    async def all(self) -> list[Sent]:
        """Of each source that has been counted."""
        return [Sent(**dict(row)) for row in await self._database.fetch(ALL)]
