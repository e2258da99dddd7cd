"""New source addresses get their reputation slowly: so many messages a day and an hour, more each day.

The count is the cluster's, in the database. A message beyond it is put off, without an attempt, until the hour or the
day is over by UTC; the rest of the budget is never made up for. What has a connection and is about to be sent counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from posthorn_smtp_out.figures import Figures
from posthorn_smtp_out.pool import BackingOff
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_smtp_out.settings import SourceSettings, WarmUpSettings
from posthorn_storage.queue import WarmUpCounts

HOUR = 3600
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Budget:
    """What holds at a moment; None: no limit. `number` is the day of the warm-up, from 1."""

    number: int
    day: int | None
    hour: int | None


def budget(settings: WarmUpSettings, today: date) -> Budget:
    """That of a day. Before the first one the first day's holds, after the last one of a schedule there is no limit."""
    number = max(0, (today - settings.since).days)
    limits = [each[number] if number < len(each) else None for each in (settings.per_day, settings.per_hour)]
    return Budget(number + 1, limits[0], limits[1])


class Spent(BackingOff):
    """The budget of a source is used up."""


class Warming:
    """The budgets of all sources. `now` is the database's clock, in seconds."""

    def __init__(
        self, counts: WarmUpCounts, sources: Mapping[str, SourceSettings], now: Callable[[], float], figures: Figures
    ) -> None:
        self._counts = counts
        self._schedules = {name: each.warm_up for name, each in sources.items() if each.warm_up is not None}
        self._now = now
        self._figures = figures
        self._over: dict[str, tuple[float, str]] = {}
        """Until when, and why, nothing more goes out from a source."""

    def spent(self, source: str) -> Spent | None:
        """Why nothing goes out from a source now, as far as this process knows."""
        if source not in self._over:
            return None
        until, why = self._over[source]
        left = until - self._now()
        if left <= 0:
            del self._over[source]
            return None
        return Spent(left, Reply(451, (why,)))

    async def take(self, source: str) -> Spent | None:
        """Count a message that is about to be sent; why it must not be. Raises Unavailable, Overloaded."""
        schedule = self._schedules.get(source)
        if schedule is None:
            return None
        now = self._now()
        allowed = budget(schedule, datetime.fromtimestamp(now, UTC).date())
        if allowed.day is None and allowed.hour is None:
            return None
        day, hour = int(now // DAY), int(now // HOUR)
        if await self._counts.take(source, day, hour, allowed.day, allowed.hour):
            self._figures.warm_up.labels(source, "sent").inc()
            return None
        self._figures.warm_up.labels(source, "put-off").inc()
        self._over[source] = await self._end(source, allowed, day, hour)
        return self.spent(source)

    async def _end(self, source: str, allowed: Budget, day: int, hour: int) -> tuple[float, str]:
        """Until when the budget is used up, and what is told of it."""
        sent = next((each for each in await self._counts.all() if each.source == source), None)
        whole_day = sent is not None and sent.day == day and allowed.day is not None and sent.day_sent >= allowed.day
        until = (day + 1) * DAY if whole_day else (hour + 1) * HOUR
        limit, time = (allowed.day, "today") if whole_day else (allowed.hour, "this hour")
        told = f"{limit} messages {time}, its day {allowed.number}"
        return float(until), f"4.4.5 The warm-up budget of the source {source} is used up: {told}"
