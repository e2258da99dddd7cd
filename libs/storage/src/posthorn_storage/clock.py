"""The database's clock, as near as a process far from it can know: what is due, paused or expired is judged by it.

The wall clock of a machine may be an hour off, or be set while a process runs. So the database is asked now and then,
and between two answers this process's monotonic clock counts on. The error is at most half of the answer's way.
"""

import asyncio
from typing import Final

from structlog.typing import FilteringBoundLogger

from posthorn_model.errors import PosthornError
from posthorn_model.ports import Clock
from posthorn_storage.database import Database

INTERVAL: Final = 30.0
LONGEST_WAY: Final = 1.0
"""Seconds; an answer that took longer tells too little, unless there was none before."""
TOLD_FROM: Final = 5.0
"""Seconds that a machine's own clock may be off before the log says so."""

NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


class DatabaseClock:
    """The port posthorn_model.ports.Clock; before the first measurement it tells the time of `clock`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._measured: tuple[float, float] | None = None

    def monotonic(self) -> float:
        """See the port."""
        return self._clock.monotonic()

    def time(self) -> float:
        """See the port: the database's."""
        if self._measured is None:
            return self._clock.time()
        at, seconds = self._measured
        return seconds + self._clock.monotonic() - at

    @property
    def offset(self) -> float:
        """Seconds that this machine's own clock is ahead of the database's."""
        return self._clock.time() - self.time()

    async def measure(self) -> None:
        """Ask the database once. Raises Unavailable, Overloaded."""
        sent = self._clock.monotonic()
        seconds = await self._database.fetchval(NOW)
        heard = self._clock.monotonic()
        if self._measured is None or heard - sent <= LONGEST_WAY:
            self._measured = ((sent + heard) / 2, seconds)

    async def keep(self, log: FilteringBoundLogger) -> None:
        """Measure for ever; a machine's clock that is off is told in the log, once each time it goes off."""
        told = False
        while True:
            try:
                await self.measure()
            except PosthornError as error:
                log.warning("the database's clock not read", reason=error.public)
            off = abs(self.offset) >= TOLD_FROM
            if off and not told:
                log.warning("this machine's clock differs from the database's", seconds=round(self.offset, 1))
            told = off
            await asyncio.sleep(INTERVAL)
