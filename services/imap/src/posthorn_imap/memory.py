"""A bound on what all clients of a process may hold in memory at once (design law 9)."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """Octets to share. One claim larger than all of it is let through alone, so that it can be served at all."""

    def __init__(self, octets: int) -> None:
        self._total = octets
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        return self._used

    def take(self, octets: int) -> bool:
        """Claim at once, or not at all; give back with `give`."""
        if self._waiting or (self._used and self._used + octets > self._total):
            return False
        self._used += octets
        return True

    def give(self, octets: int) -> None:
        self._used -= octets
        while self._waiting:
            wanted, waiter = self._waiting[0]
            if self._used and self._used + wanted > self._total:
                return
            self._waiting.popleft()
            if not waiter.done():
                self._used += wanted
                waiter.set_result(None)

    @asynccontextmanager
    async def held(self, octets: int) -> AsyncIterator[None]:
        """Claim, waiting in turn, for the time of the block."""
        if not self.take(octets):
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append((octets, waiter))
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.give(octets)
                raise
        try:
            yield
        finally:
            self.give(octets)
