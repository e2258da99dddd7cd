"""The latest proposal for this process: a value that changes, of which a reader only wants the newest."""

import asyncio
from collections.abc import AsyncIterator


class Proposal(AsyncIterator[frozenset[str]]):
    """Yields the proposed keys each time they differ from those yielded last, the first set at once."""

    def __init__(self, first: frozenset[str] | None = None) -> None:
        self._newest = first
        self._yielded: frozenset[str] | None = None
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, keys: frozenset[str]) -> None:
        self._newest = keys
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    def __aiter__(self) -> "Proposal":
        return self

    async def __anext__(self) -> frozenset[str]:
        while not self._closed and (self._newest is None or self._newest == self._yielded):
            self._wake.clear()
            await self._wake.wait()
        if self._closed or self._newest is None:
            raise StopAsyncIteration
        self._yielded = self._newest
        return self._newest
