"""Blocking clients of object stores in a bounded number of threads, and attempts repeated while it may help."""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from posthorn_model.errors import Overloaded, PosthornError, Unavailable

_WAITING: Final = 512
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
T = TypeVar("T")


class Threads:
    """Runs calls that block; one more than `waiting` is refused at once."""

    def __init__(self, name: str, count: int, *, waiting: int = _WAITING) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._limit = waiting
        self._waiting = 0

    async def run(self, step: str, work: Callable[[], T], *, timeout: float | None = None) -> T:
        """What `work` returns or raises. Raises Overloaded, Unavailable (after `timeout` seconds, or when closed).

        Whoever is cancelled does not wait any longer; what has begun in a thread goes on to its own end.
        """
        if self._waiting >= self._limit:
            raise Overloaded(step=f"blob {step}", waiting=self._waiting)
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except (TimeoutError, RuntimeError) as error:  # RuntimeError: the pool was shut down by close()
            raise Unavailable(step=f"blob {step}", cause=repr(error)) from error
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def patiently(
    step: str,
    request: Callable[[], T],
    *,
    failures: tuple[type[Exception], ...],
    refusal: Callable[[Exception, str], PosthornError | None],
    attempts: int,
    seconds: float,
) -> T:
    """Make a request again after a pause with jitter while it fails in a way that may pass, inside one time limit.

    `refusal` says what a failure means when another attempt is of no use, and None when it may help.
    """
    end = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    for attempt in range(1, attempts + 1):
        try:
            return request()
        except failures as error:
            refused = refusal(error, step)
            wait = random.uniform(pause / 2, pause)  # noqa: S311  jitter, not a secret
            if refused is not None or attempt == attempts or time.monotonic() + wait > end:
                raise refused or Unavailable(step=f"blob {step}", attempt=attempt, cause=repr(error)) from error
        time.sleep(wait)
        pause = min(pause * 4, _LONGEST_PAUSE)
    raise Unavailable(step=f"blob {step}", cause="no attempt was allowed")
