"""Growing pauses between attempts, spread at random so that many who failed together do not come back together."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from posthorn_model.errors import PosthornError

T = TypeVar("T")


class Backoff:
    """Pauses in seconds: `first`, then `factor` times as long, at most `limit`; each shortened by up to `jitter`.

    `jitter` is a share from 0 (none) to 1 (anything down to no pause). Not bound to a loop or a clock.
    """

    def __init__(
        self,
        first: float = 0.1,
        limit: float = 30.0,
        *,
        factor: float = 2.0,
        jitter: float = 0.5,
        seed: int | None = None,
    ) -> None:
        if not (0 < first <= limit and factor >= 1 and 0 <= jitter <= 1):
            raise ValueError("a back-off needs 0 < first <= limit, factor >= 1 and jitter from 0 to 1")
        self._first, self._limit, self._factor, self._jitter = first, limit, factor, jitter
        self._random = random.Random(seed)  # noqa: S311 (spreads load, guards nothing)
        self._pause = first
        self.attempts = 0

    def next(self) -> float:
        """The pause before the next attempt."""
        pause = self._pause
        self._pause = min(self._limit, pause * self._factor)
        self.attempts += 1
        return pause * (1 - self._jitter * self._random.random())

    def reset(self) -> None:
        """Begin again with the first pause: an attempt has succeeded."""
        self._pause = self._first
        self.attempts = 0


async def until_available(
    attempt: Callable[[], Awaitable[T]],
    *,
    backoff: Backoff,
    refused: Callable[[PosthornError, float], None],
) -> T:
    """Call `attempt` until it raises no temporary PosthornError; other errors pass through at once.

    `refused` hears each error and the seconds until the next attempt.
    """
    while True:
        try:
            return await attempt()
        except PosthornError as error:
            if not error.temporary:
                raise
            pause = backoff.next()
            refused(error, pause)
        await asyncio.sleep(pause)
