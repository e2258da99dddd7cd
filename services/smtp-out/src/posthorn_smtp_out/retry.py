"""When to try again: pure functions over the schedule of the settings."""

from collections.abc import Sequence
from datetime import datetime, timedelta


def next_due(schedule: Sequence[float], attempts: int, now: datetime) -> datetime:
    """When to try again after `attempts` attempts (one or more); the schedule's last pause repeats."""
    pause = schedule[min(max(attempts, 1), len(schedule)) - 1]
    return now + timedelta(seconds=pause)


def expired(created_at: datetime, expire: float, due: datetime) -> bool:
    """Whether an attempt at `due` would come after the message's time."""
    return due - created_at >= timedelta(seconds=expire)
