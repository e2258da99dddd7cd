"""The parts of shared limits that this process holds: of relays, and of sites that are spread over several workers.

They are asked for when there is work, renewed while there is, and given back. The time of what is held counts from
before it was asked for; when it has passed without another answer, all of its connections are cut. Between two renewals
only those limits are asked about of which more is wanted: there may be thousands of others.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from structlog.typing import FilteringBoundLogger

from posthorn_model.errors import PosthornError
from posthorn_smtp_out.figures import Figures
from posthorn_smtp_out.pool import Pool
from posthorn_storage.queue import Ask, ShareStore

MIN_PAUSE = 0.01
"""Seconds between two questions."""
RENEWALS = 8
"""In the time for which a part is held."""


class Sharing:
    """One for a process. `holder` is unique for one life of it; `seconds` is how long a part is held."""

    def __init__(
        self,
        store: ShareStore,
        pool: Pool,
        holder: str,
        seconds: float,
        *,
        figures: Figures,
        log: FilteringBoundLogger,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._store = store
        self._pool = pool
        self._holder = holder
        self._seconds = seconds
        self._pause = min(1.0, seconds / RENEWALS)
        """Seconds between two renewals; what is held counts as lost so long before it is."""
        self._figures = figures
        self._log = log
        self._clock = clock or asyncio.get_running_loop().time
        self._deadline: asyncio.TimerHandle | None = None
        self._asking = asyncio.Lock()
        self._closed = False

    async def round(self) -> None:
        """Ask once for all that the pool wants now, and keep what it has.

        Raises Unavailable, Overloaded, TimeoutError.
        """
        asks = self._pool.asks()
        if not asks:
            self._stop_counting()  # nothing is held that could be lost
            return
        sent = self._clock()
        held = await self._ask(asks)
        if not self._closed:
            self._count_from(sent)
        self._figures.shared_wanted.set(sum(ask.wanted for ask in asks))
        self._figures.shared_held.set(held)

    async def more(self) -> None:
        """Ask once for what the pool wants beyond what it asked for; the rest is not renewed. Raises as `round`."""
        if asks := self._pool.asks(more=True):
            sent = self._clock()
            await self._ask(asks)
            if self._deadline is None and not self._closed:  # else what was held before is lost first
                self._count_from(sent)

    async def keep(self) -> None:
        """Ask for ever: at once when the pool wants more, and often enough to keep what it has."""
        wants, renewed = self._pool.wants, float("-inf")
        while not self._closed:
            wants.clear()
            try:
                if (now := self._clock()) - renewed >= self._pause:
                    renewed = now
                    await self.round()
                else:
                    await self.more()
            except (PosthornError, TimeoutError) as error:
                reason = error.public if isinstance(error, PosthornError) else "no answer in time"
                self._log.warning("shared limits not asked for", reason=reason)
            await asyncio.sleep(MIN_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, renewed + self._pause - self._clock())):
                    await wants.wait()

    async def close(self) -> None:
        """Give everything back: nothing of it is in use any more."""
        self._closed = True
        self._pool.cut()
        self._stop_counting()
        with contextlib.suppress(PosthornError, TimeoutError):
            # An answer that is on its way would else be written down after what is given back here.
            async with asyncio.timeout(self._seconds / 2), self._asking:
                await self._store.release(self._holder)

    async def _ask(self, asks: Sequence[Ask]) -> int:
        """How many connections were granted, of all limits together."""
        async with asyncio.timeout(self._seconds / 2), self._asking:
            granted = await self._store.ask(self._holder, asks, self._seconds) if not self._closed else {}
        if self._closed:
            return 0
        for ask in asks:
            self._pool.grant(ask.name, granted.get(ask.name))
        return sum(each.connections for each in granted.values())

    def _stop_counting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _count_from(self, sent: float) -> None:
        self._stop_counting()
        left = sent + self._seconds - self._pause - self._clock()
        self._deadline = asyncio.get_running_loop().call_later(left, self._lose)

    def _lose(self) -> None:
        self._deadline = None
        self._log.warning("shared limits lost: the database does not renew them")
        self._pool.cut()
