"""Places for those who use the connections of a destination: first come, first served, and their number may change."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Slots:
    """A semaphore with another size at any time; whoever is in stays in. Only for one event loop."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._used = 0
        self._waiting: OrderedDict[asyncio.Future[None], Callable[[], bool]] = OrderedDict()
        """In their order, with who says whether they may still start when they get in."""

    @asynccontextmanager
    async def place(self, may_start: Callable[[], bool] = lambda: True) -> AsyncIterator[None]:
        """Wait for one, and leave it at the end. Raises what `dismiss` was given."""
        await self._enter(may_start)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, may_start: Callable[[], bool]) -> None:
        if self._used < self.size and not self._waiting:
            self._used += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting[place] = may_start
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._leave()  # it came, and nobody is there any more to take it
            self._waiting.pop(place, None)
            raise

    def resize(self, size: int) -> None:
        """From now on so many are in at once, when those beyond it have left."""
        self.size = size
        self._admit()

    def dismiss(self, error: Exception, *, vain: bool = False) -> None:
        """Whoever waits is told that it waits for nothing; `vain`: only who may not start any more."""
        for place, may_start in tuple(self._waiting.items()):
            if not vain or not may_start():
                del self._waiting[place]
                if not place.done():
                    place.set_exception(error)

    def _leave(self) -> None:
        self._used -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._used < self.size:
            place, _ = self._waiting.popitem(last=False)
            if not place.done():
                self._used += 1
                place.set_result(None)
