"""Which sites at home in one shard are spread over several, decided by the shard's owner while it has the lease.

Before a site is spread its messages under way end and its connections are closed: the owner has had the whole limit
until then. Nothing is claimed for it in the meantime.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from posthorn_model.errors import PosthornError
from posthorn_model.queue_items import DueRecipient
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.remoting import spread_of
from posthorn_smtp_out.routes import Destination
from posthorn_smtp_out.tenure import Tenure

MEASURE_SECONDS = 15.0
"""Between two looks at how deep sites are."""
GATHER_SECONDS = 60.0
"""Between two looks whether a site needs to be spread no longer."""


class Widening:
    """The sites of one tenure. `at_hand` counts its messages of each destination; `wake` makes it look again."""

    def __init__(
        self,
        parts: Parts,
        tenure: Tenure,
        at_hand: Mapping[str, int],
        log: FilteringBoundLogger,
        wake: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._tenure = tenure
        self._at_hand = at_hand
        self._log = log
        self._wake = wake
        self._wanted = spread_of(parts.settings)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        clock = parts.clock.monotonic
        self._measured = self._gathered = clock()
        self.sites: set[str] = set()
        """Being spread: nothing of them may be started."""

    def take(self, due: Sequence[DueRecipient]) -> Sequence[DueRecipient]:
        """Begin with those that the settings want spread; returns what may be started all the same."""
        for site in {each.site for each in due} - self.sites:
            if self._parts.spreads.of(site) == 1 and (over := self._wanted(site) or 1) > 1:
                self._begin(site, over)
        return [each for each in due if each.site not in self.sites] if self.sites else due

    async def look(self, *, busy: bool) -> None:
        """Now and then: is a site deep, is one deep no longer. `busy`: more is due than is at hand.

        Raises Unavailable, Overloaded.
        """
        now, settings, shard = self._parts.clock.monotonic(), self._parts.settings, self._tenure.shard
        if busy and settings.spread_from and settings.spread > 1 and now - self._measured >= MEASURE_SECONDS:
            self._measured = now
            for site in await self._parts.spreads.deep(shard, settings.spread_from):
                if self._wanted(site) is None:
                    self._begin(site, settings.spread)
        if now - self._gathered >= GATHER_SECONDS:
            self._gathered = now
            for site in self._parts.spreads.at_home_in(shard):
                await self._review(site)

    async def _review(self, site: str) -> None:
        """Of a site that is spread: over as many shards as the settings say, or no longer if nothing asks for it."""
        spreads, shard, epoch = self._parts.spreads, self._tenure.shard, self._tenure.lease.epoch
        wanted = self._wanted(site) or 1
        over = self._at_most(site, wanted)
        if wanted == 1:
            if await spreads.gather(site, shard, epoch):
                self._parts.pool.dismiss(site)
        elif over > 1 and over != spreads.of(site):
            await spreads.spread(site, over, shard, epoch)

    def _at_most(self, site: str, wanted: int) -> int:
        """Not over more shards than it may have connections; 1 for mailboxes of the cluster."""
        destination = self._parts.router.destination(site) if site != "local" else None
        if destination is None:
            return 1
        return min(wanted, self._tenure.pool(destination).pace(destination).limits.connections)

    def ended(self) -> None:
        """A message is at hand no longer."""
        self._ended.set()

    def stop(self) -> None:
        """The tenure ends."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, site: str, over: int) -> None:
        destination = self._parts.router.destination(site) if site != "local" else None
        over = self._at_most(site, over)
        if destination is None or over < 2 or site in self.sites:
            return
        self.sites.add(site)
        task = asyncio.create_task(self._spread(site, destination, over), name=f"spread {site}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _spread(self, site: str, destination: Destination, over: int) -> None:
        try:
            while self._at_hand.get(destination.key) and not destination.shared:
                self._ended.clear()
                await self._ended.wait()
            await self._tenure.sites.retire(destination.key)
            await self._parts.spreads.spread(site, over, self._tenure.shard, self._tenure.lease.epoch)
        except PosthornError as error:
            self._log.warning("site not spread", site=site, reason=error.public)
        finally:
            self.sites.discard(site)
            self._wake()
