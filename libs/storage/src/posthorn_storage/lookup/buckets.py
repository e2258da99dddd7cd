"""The arithmetic of token buckets (GCRA): one moment per key says everything, the moment when the bucket is full again.

All in whole microseconds, so that every back end answers alike; `full` and `now` are on the back end's own clock.
"""

from posthorn_model.lookup import Take, Taken

SECOND = 1_000_000


def period_of(take: Take) -> int:
    """How long an empty bucket needs to fill: how far ahead the moment may be."""
    return int(take.period * SECOND)


def step_of(take: Take) -> int:
    """How far one unit moves the moment; rounded down, so that the whole limit fits into the period."""
    return period_of(take) // take.limit


def moved(take: Take, ahead: int) -> int:
    """How far ahead of now the moment is after this take, when it is `ahead` (not below 0) before it."""
    return ahead + step_of(take) * max(take.cost, 1)


def judged(take: Take, ahead: int) -> Taken:
    """The answer for a bucket whose moment is `ahead` of now (not below 0)."""
    excess = moved(take, ahead) - period_of(take)
    return Taken(allowed=False, retry_after=excess / SECOND) if excess > 0 else Taken(allowed=True)
