"""What is paused, as this process knows it: read every second and whenever an event says that it changed.

A recipient that is claimed although its site or route is paused is parked, out of sight of the next claim; while
everything is paused nothing is claimed at all. Attempts whose end of data has been sent go on.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from posthorn_model.errors import PosthornError
from posthorn_model.ids import Epoch
from posthorn_model.queue_items import DueRecipient
from posthorn_smtp_out.routes import Destination
from posthorn_storage.queue import Pause, PauseStore

CHANGED = "queue-pauses"
"""The name of the Control event that says: read them again."""
READ_SECONDS = 1.0
LOCAL = "local"


class Paused(Exception):
    """The attempt must not go on; nothing was sent."""


class Brakes:
    """The pauses of the queue. `destination` says where mail of a site goes, None: to mailboxes of the cluster."""

    def __init__(
        self, store: PauseStore, destination: Callable[[str], Destination | None], log: FilteringBoundLogger
    ) -> None:
        self._store = store
        self._destination = destination
        self._log = log
        self._everything: Pause | None = None
        self._sites: Mapping[str, Pause] = {}
        self._routes: Mapping[str, Pause] = {}
        self._again = asyncio.Event()

    @property
    def everything(self) -> bool:
        """Whether nothing at all may be started."""
        return self._everything is not None

    def pause_of(self, site: str) -> Pause | None:
        """What stops mail of a site now; the widest pause counts."""
        if self._everything is not None or not (self._sites or self._routes):
            return self._everything
        if self._routes:
            destination = None if site == LOCAL else self._destination(site)
            stopped = self._routes.get(LOCAL if destination is None else destination.key)
            if stopped is not None:
                return stopped
        return self._sites.get(site)

    def check(self, site: str) -> None:
        """Raises Paused."""
        if self.pause_of(site) is not None:
            raise Paused

    async def pass_on(self, due: Sequence[DueRecipient], shard: int, epoch: Epoch) -> Sequence[DueRecipient]:
        """What of the claimed recipients may go; the others are parked. Raises Unavailable, Overloaded."""
        stopped = {each.id: pause.id for each in due if (pause := self.pause_of(each.site)) is not None}
        if not stopped:
            return due
        await self._store.park(shard, epoch, stopped)
        return [each for each in due if each.id not in stopped]

    def hurry(self) -> None:
        """Something changed: read now."""
        self._again.set()

    async def read(self) -> None:
        """Read the pauses once. Raises Unavailable, Overloaded."""
        standing = [pause for pause in await self._store.all() if not pause.lifted]
        everything = next((pause for pause in standing if pause.scope == "everything"), None)
        sites = {pause.name: pause for pause in standing if pause.scope == "site"}
        routes = {pause.name: pause for pause in standing if pause.scope == "route"}
        told = (everything, sites, routes)
        if told != (self._everything, self._sites, self._routes):
            names = [*sites, *(f"route {name}" for name in routes), *(["everything"] if everything else [])]
            self._log.info("pauses changed", paused=names[:20], count=len(names))
        self._everything, self._sites, self._routes = told

    async def keep(self, wake: Callable[[int | None], None]) -> None:
        """Read for ever, let go what lifted pauses stopped, and wake the shards concerned; None: all of them."""
        while True:
            try:
                before = self.everything
                await self.read()
                if before and not self.everything:
                    wake(None)
                while resumed := await self._store.resume():
                    for shard in resumed:
                        wake(shard)
            except PosthornError as error:
                self._log.warning("pauses not read", reason=error.public)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READ_SECONDS):
                    await self._again.wait()
            self._again.clear()
