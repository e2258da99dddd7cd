"""Sums observations up in memory and writes the sums every few seconds: a message that is judged waits for no report.

What is counted since the last write is lost with the process: a report may miss the last seconds of a killed one.
"""

import asyncio
import contextlib
from collections import Counter
from typing import Final, Protocol

from posthorn_model.dmarc import DmarcObservation
from posthorn_model.errors import PosthornError
from posthorn_storage.dmarc.store import Counts

FLUSH_SECONDS: Final = 10.0
MOST: Final = 5000
"""Different observations that are held; more are dropped until the next write."""
BATCH: Final = 500


class Recorder(Protocol):
    """Where sums go: DmarcStore."""

    async def record(self, counts: Counts) -> None: ...


class DmarcTally:
    """One for a process. `dropped` counts observations that are in no report."""

    def __init__(self, store: Recorder) -> None:
        self._store = store
        self._counts: Counter[DmarcObservation] = Counter()
        self._writing = asyncio.Lock()
        self.dropped = 0

    def add(self, observation: DmarcObservation) -> None:
        """Count a message. Never blocks; domains that want no reports are not counted."""
        if not observation.published.reports_to:
            return
        if observation in self._counts or len(self._counts) < MOST:
            self._counts[observation] += 1
        else:
            self.dropped += 1

    async def flush(self) -> None:
        """Write what was counted; what cannot be written is kept for the next time. Raises Unavailable."""
        async with self._writing:
            while self._counts:
                batch = dict(list(self._counts.items())[:BATCH])
                await self._store.record(batch)
                for observation, count in batch.items():
                    self._counts[observation] -= count  # more may have come in the meantime
                    if not self._counts[observation]:
                        del self._counts[observation]

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
