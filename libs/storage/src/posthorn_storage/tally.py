"""Sums of what is seen, kept in memory and written every few seconds, so that no message waits for a report.

What is counted since the last write is lost with the process: a report may miss the last seconds of a killed one.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Final, Generic, TypeVar

from posthorn_model.errors import PosthornError

FLUSH_SECONDS: Final = 10.0
MOST: Final = 5000
"""Different things that are held; more are dropped until the next write."""
BATCH: Final = 500

SeenT = TypeVar("SeenT", bound=Hashable)


class Tally(Generic[SeenT]):
    """One for a process. `record` writes sums, `dropped` counts what is in no report."""

    def __init__(self, record: Callable[[Mapping[SeenT, int]], Awaitable[None]]) -> None:
        self._record = record
        self._counts: Counter[SeenT] = Counter()
        self._writing = asyncio.Lock()
        self.dropped = 0

    def count(self, seen: SeenT) -> None:
        """Count one. Never blocks."""
        if seen in self._counts or len(self._counts) < MOST:
            self._counts[seen] += 1
        else:
            self.dropped += 1

    async def flush(self) -> None:
        """Write what was counted; what cannot be written is kept for the next time. Raises Unavailable."""
        async with self._writing:
            while self._counts:
                batch = dict(list(self._counts.items())[:BATCH])
                await self._record(batch)
                for seen, count in batch.items():
                    self._counts[seen] -= count  # more may have come in the meantime
                    if not self._counts[seen]:
                        del self._counts[seen]

    async def keep(self) -> None:
        """Write for ever."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            with contextlib.suppress(PosthornError):  # the database is away; the next write takes it along
                await self.flush()

    async def close(self) -> None:
        """Write what is left; it is given up when the database does not take it."""
        with contextlib.suppress(PosthornError):
            await self.flush()
