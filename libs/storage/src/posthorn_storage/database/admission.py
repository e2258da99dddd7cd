"""Who may have a connection: classes of work share a number of them, each with a part kept for it and a ceiling.

Nothing is opened here. Who is not let in waits for its turn, so many and so long, and is then refused: back-pressure
starts here (design law 9). Those below what is kept for their class come first, then who has waited longest.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from posthorn_model.errors import Overloaded
from posthorn_storage.database.limits import Share


@dataclass(frozen=True, slots=True)
class Load:
    """One class of work at this moment; `refused` counts since the start."""

    in_use: int
    waiting: int
    refused: int


@dataclass(slots=True)
class _Class:
    share: Share
    in_use: int = 0
    refused: int = 0
    waiting: "deque[tuple[int, asyncio.Future[None]]]" = field(default_factory=deque)


class Admission:
    """Lets at most `total` in at once. What is kept for the classes (`least`) may not be more than that together."""

    def __init__(self, total: int, shares: Mapping[str, Share], *, waiting: int) -> None:
        self._total = total
        self._classes = {name: _Class(share) for name, share in shares.items()}
        self._limit = waiting
        self._numbers = itertools.count()

    async def enter(self, name: str, patience: float) -> None:
        """Take a place, which `leave` gives back. Raises Overloaded: too many wait, or no turn within `patience` s."""
        work = self._classes[name]
        if not work.waiting and self._admits(work):
            work.in_use += 1
            return
        if len(work.waiting) >= self._limit:
            work.refused += 1
            raise Overloaded(step="acquire", work=name, waiting=len(work.waiting))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (next(self._numbers), turn)
        work.waiting.append(place)
        try:
            async with asyncio.timeout(patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.leave(name)
            else:
                with suppress(ValueError):
                    work.waiting.remove(place)
            if isinstance(error, TimeoutError):
                work.refused += 1
                raise Overloaded(step="acquire", work=name, waiting=len(work.waiting)) from error
            raise

    def leave(self, name: str) -> None:
        """Give a place back; whose turn it is then has it at once."""
        self._classes[name].in_use -= 1
        self._call()

    def load(self, name: str) -> Load:
        """What the class has, how many of it wait, how many were refused so far."""
        work = self._classes[name]
        return Load(work.in_use, len(work.waiting), work.refused)

    def _call(self) -> None:
        while ready := [work for work in self._classes.values() if work.waiting and self._admits(work)]:
            work = min(ready, key=lambda one: (one.in_use >= one.share.least, one.waiting[0][0]))
            _, turn = work.waiting.popleft()
            if not turn.done():
                work.in_use += 1
                turn.set_result(None)

    def _admits(self, work: _Class) -> bool:
        if work.in_use >= work.share.most:
            return False
        kept = sum(max(0, one.share.least - one.in_use) for one in self._classes.values() if one is not work)
        return sum(one.in_use for one in self._classes.values()) + kept < self._total
