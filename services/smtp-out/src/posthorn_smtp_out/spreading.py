"""Sites that are spread over several shards, as this process knows them (posthorn_storage.queue.spreads).

A site is spread because the settings say so, or because so much is due for it: by the owner of its home, once none of
its connections to the site is open (widening.py). From then on everybody asks for a part of the site's limit. What
stands in a shard that is not its place is moved by the shard's owner, and never sent from there.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from posthorn_model.errors import PosthornError
from posthorn_model.ids import Epoch
from posthorn_model.queue_items import DueRecipient
from posthorn_smtp_out.figures import Figures
from posthorn_storage.queue import QueueStore

READ_SECONDS = 1.0


class Spreads:
    """One for a process."""

    def __init__(self, queue: QueueStore, figures: Figures, log: FilteringBoundLogger) -> None:
        self._queue = queue
        self._figures = figures
        self._log = log
        self.tell: Callable[[int], None] = lambda _: None
        """Set by who tells shards that something has become due in them."""
        self._known: Mapping[str, int] = {}
        self._reading = asyncio.Lock()
        """What was read is not put over what was written in the meantime."""

    def of(self, site: str) -> int:
        """Over how many shards a site is spread; 1: it is not."""
        return self._known.get(site, 1)

    def home(self, site: str) -> int:
        """The shard whose owner decides about it."""
        return self._queue.shard_of(site)

    def at_home_in(self, shard: int) -> list[str]:
        """The sites with that home that are spread."""
        return [site for site in self._known if self.home(site) == shard]

    def woken_with(self, shard: int) -> set[int]:
        """Where recipients may stand of sites with this home."""
        found = {shard}
        for site in self.at_home_in(shard):
            found.update((shard + number) % self._queue.shards for number in range(self._known[site]))
        return found

    async def read(self) -> set[str]:
        """Read them all; returns those that are not spread any more. Raises Unavailable, Overloaded."""
        async with self._reading:
            found = await self._queue.spreads.all()
            ended = self._known.keys() - found.keys()
            self._take(found)
            return ended

    async def keep(self, forget: Callable[[str], None]) -> None:
        """Read for ever; `forget` is told of sites that are not spread any more."""
        while True:
            await asyncio.sleep(READ_SECONDS)
            try:
                for site in await self.read():
                    forget(site)
            except PosthornError as error:
                self._log.warning("spread sites not read", reason=error.public)

    async def spread(self, site: str, over: int, shard: int, epoch: Epoch) -> None:
        """As the owner of its home, without a connection to it. Raises Unavailable, Overloaded."""
        async with self._reading:
            if await self._queue.spreads.put(site, over, shard, epoch):
                self._log.info("site spread", site=site, shards=over)
                self._take(await self._queue.spreads.all())

    async def gather(self, site: str, shard: int, epoch: Epoch) -> bool:
        """Spread it no longer, if that may be now. Raises Unavailable, Overloaded."""
        async with self._reading:
            gathered = await self._queue.spreads.remove(site, shard, epoch)
            if gathered:
                self._log.info("site spread no longer", site=site)
                self._take(await self._queue.spreads.all())
            return gathered

    async def in_place(self, due: Sequence[DueRecipient], shard: int, epoch: Epoch) -> Sequence[DueRecipient]:
        """Those that belong in this shard; the others are moved to theirs. Raises Unavailable, Overloaded."""
        homes = {site: self.home(site) for site in {each.site for each in due}}
        if not self._known and all(home == shard for home in homes.values()):
            return due
        places = {
            each.id: self._queue.spreads.place(homes[each.site], self.of(each.site), each.address) for each in due
        }
        elsewhere = {number: place for number, place in places.items() if place != shard}
        if not elsewhere:
            return due
        self._figures.moved.inc(await self._queue.spreads.move(shard, epoch, elsewhere))
        for place in set(elsewhere.values()):
            self.tell(place)
        return [each for each in due if each.id not in elsewhere]

    async def deep(self, shard: int, least: int) -> Sequence[str]:
        """Sites at home in a shard, not spread, with so much due there. Raises Unavailable, Overloaded."""
        found = await self._queue.spreads.deep(shard, least)
        return [site for site in found if self.of(site) == 1 and self.home(site) == shard]

    def _take(self, found: Mapping[str, int]) -> None:
        self._known = found
        self._figures.spread_sites.set(len(found))
