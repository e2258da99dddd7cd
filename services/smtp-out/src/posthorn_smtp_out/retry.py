"""When to try again: pure functions over the schedule of the settings."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from posthorn_model.queue_items import DueRecipient


def next_due(schedule: Sequence[float], attempts: int, now: datetime) -> datetime:
    """When to try again after `attempts` attempts (one or more); the schedule's last pause repeats."""
    pause = schedule[min(max(attempts, 1), len(schedule)) - 1]
    return now + timedelta(seconds=pause)


def sooner(schedule: Sequence[float], attempts: int, now: datetime) -> datetime:
    """The same for greylisting, one step earlier: half of the first pause, then the first, the second, and so on."""
    return next_due(schedule, attempts - 1, now) if attempts > 1 else now + timedelta(seconds=schedule[0] / 2)


def expired(created_at: datetime, expire: float, due: datetime) -> bool:
    """Whether an attempt at `due` would come after the message's time."""
    return due - created_at >= timedelta(seconds=expire)


def late(due: DueRecipient, now: datetime) -> bool:
    """Whether the time that the sender set is over (RFC 2852)."""
    return due.terms.deliver_by is not None and now >= due.terms.deliver_by


def returned(due: DueRecipient, now: datetime) -> bool:
    """Whether nothing more may be tried, because the sender wants back what is late (by-mode R)."""
    return due.terms.by_return and late(due, now)


def by_deadline(due: DueRecipient, again: datetime, now: datetime) -> datetime:
    """The next attempt, but not after the time that the sender set, when it must be looked at once more."""
    deadline = due.terms.deliver_by
    return again if deadline is None or now >= deadline else min(again, deadline)
