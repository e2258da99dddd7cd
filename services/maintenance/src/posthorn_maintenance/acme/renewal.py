"""When a certificate is renewed, and how long to wait after a failure. Values only."""

import random
from datetime import datetime, timedelta
from typing import Final

FIRST_PAUSE: Final = 60.0
LONGEST_PAUSE: Final = 86_400.0
REFUSED_FACTOR: Final = 10.0
"""After a refusal: authorities count failed orders, and five in an hour are too many for some."""


def renewal_time(not_before: datetime, not_after: datetime, before: float | None) -> datetime:
    """`before` seconds before its end, or when two thirds of its life are over; never before its second half."""
    life = not_after - not_before
    ahead = life / 3 if before is None else timedelta(seconds=before)
    return not_after - min(ahead, life / 2)


def pause(failures: int, *, refused: bool, asked: float = 0.0) -> float:
    """Seconds until the next try after so many failures in a row, this one included.

    It doubles each time up to a day, is shortened by up to a half at random, and is never shorter than what the
    authority `asked` for.
    """
    first = FIRST_PAUSE * (REFUSED_FACTOR if refused else 1.0)
    longest = min(LONGEST_PAUSE, first * 2.0 ** min(failures - 1, 20))
    return max(min(asked, LONGEST_PAUSE), longest * (0.5 + 0.5 * random.random()))  # noqa: S311 (spreads load)
