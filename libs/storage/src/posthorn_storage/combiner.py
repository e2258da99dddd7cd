"""The combiner: concurrent writes of one kind, of this process, share a transaction.

An item waits a window for company, and not at all when none came lately; while a batch runs it may wait for several;
while as many batches run as are allowed, the next one fills up. The end of a batch sends off those that wait when they
are as many as were stored together lately, so that clients that wait for their replies come by turns in two groups;
fewer wait for their window: whoever is answered is about to come again (decision 0047). Two batches that need the same
key (such as the lock of an account) never run side by side: the second would only wait in the database, where nobody
can join it. An item that cannot be stored fails alone. What waits is bounded: beyond that Overloaded is raised (design
law 9).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from posthorn_model.errors import Overloaded, PosthornError, Unavailable

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
LATELY = 20
"""Windows for which the next item waits for company after a batch that had some."""
REMEMBERED = 8
"""The last batches, whose sizes tell how many come together."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[ItemT, ResultT]):
    item: ItemT
    keys: frozenset[Hashable]
    future: "asyncio.Future[ResultT]"


def _none(_item: object) -> Iterable[Hashable]:
    return ()


class Combiner(Generic[ItemT, ResultT]):
    """Groups items and hands them to `store`, which returns a result or an error for each of them.

    `window` is in seconds, `patience` how many of them an item waits at most while a batch runs. `keys` tells what an
    item keeps to itself while it is stored.
    """

    def __init__(
        self,
        store: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT | PosthornError]]],
        *,
        window: float,
        patience: int = 1,
        keys: Callable[[ItemT], Iterable[Hashable]] = _none,
        batch: int = 128,
        parallel: int = 4,
        waiting: int = 4096,
    ) -> None:
        self._store = store
        self._window = window
        self._patience = patience
        self._keys = keys
        self._batch = batch
        self._parallel = parallel
        self._limit = waiting
        self._waiting: deque[_Waiting[ItemT, ResultT]] = deque()
        self._held: list[_Waiting[ItemT, ResultT]] = []
        """Those that need a taken key; they come first when a batch ends."""
        self._taken: set[Hashable] = set()
        """Keys of what runs, and of what is held: nobody overtakes an item that waits for two keys."""
        self._timer: asyncio.TimerHandle | None = None
        self._company_until = float("-inf")
        self._sizes: deque[int] = deque(maxlen=REMEMBERED)
        self._windows = 0
        """How many more may pass until those that wait go, whatever runs."""
        self._running: dict[asyncio.Task[None], frozenset[Hashable]] = {}

    async def submit(self, item: ItemT) -> ResultT:
        """Store one item. Raises what `store` says of it, Overloaded when too many wait.

        A caller that is cancelled while its batch runs leaves the item to be stored all the same.
        """
        if len(self._waiting) + len(self._held) >= self._limit:
            raise Overloaded(step="combine", waiting=len(self._waiting) + len(self._held))
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(item, frozenset(self._keys(item)), future)
        if waiting.keys.isdisjoint(self._taken):
            self._waiting.append(waiting)
            self._arm()
        else:
            self._hold(waiting)
        return await future

    @property
    def waits(self) -> bool:
        """Whether anybody waits for the next batch."""
        return bool(self._waiting or self._held)

    async def close(self) -> None:
        """Store what waits and return when nothing runs any more."""
        while self._waiting or self._running:
            self._fire()
            await asyncio.wait(set(self._running))

    def _arm(self) -> None:
        if len(self._running) >= self._parallel:
            return
        if len(self._waiting) >= self._batch:
            self._fire()
        elif self._timer is None:
            self._windows = self._patience
            self._timer = asyncio.get_running_loop().call_later(0 if self._alone() else self._window, self._due)

    def _alone(self) -> bool:
        """Whether nobody is to be expected within a window."""
        return not self._running and asyncio.get_running_loop().time() > self._company_until

    def _due(self) -> None:
        """A window is over: go, or wait for one more while a batch runs."""
        self._windows -= 1
        if self._running and self._windows > 0:
            self._timer = asyncio.get_running_loop().call_later(self._window, self._due)
        else:
            self._fire()

    def _fire(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while len(self._running) < self._parallel and (batch := self._next_batch()):
            self._sizes.append(len(batch))
            if len(batch) > 1:
                self._company_until = asyncio.get_running_loop().time() + LATELY * self._window
            keys = frozenset[Hashable]().union(*(waiting.keys for waiting in batch))
            self._taken |= keys
            task = asyncio.get_running_loop().create_task(self._run(batch), name="combined batch")
            self._running[task] = keys
            task.add_done_callback(self._done)

    def _next_batch(self) -> list[_Waiting[ItemT, ResultT]]:
        batch: list[_Waiting[ItemT, ResultT]] = []
        while self._waiting and len(batch) < self._batch:
            waiting = self._waiting.popleft()
            if waiting.keys.isdisjoint(self._taken):
                batch.append(waiting)
            else:
                self._hold(waiting)
        return batch

    def _hold(self, waiting: _Waiting[ItemT, ResultT]) -> None:
        self._held.append(waiting)
        self._taken |= waiting.keys

    def _done(self, task: "asyncio.Task[None]") -> None:
        """A batch is over: what it kept to itself is free, and who waits may go."""
        if self._running.pop(task, None) is None:
            return
        self._taken = set[Hashable]().union(*self._running.values())
        self._waiting.extendleft(reversed(self._held))
        self._held.clear()
        if self._alone() or self._complete():
            self._fire()
        elif self._waiting:
            self._arm()

    def _complete(self) -> bool:
        """Whether as many wait as were stored together lately."""
        return len(self._waiting) * len(self._sizes) >= sum(self._sizes)

    async def _run(self, batch: list[_Waiting[ItemT, ResultT]]) -> None:
        outcomes = await self._outcomes(batch)
        # The next batch first: the database has something to do while those of this one are answered (decision 0054).
        task = asyncio.current_task()
        assert task is not None
        self._done(task)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if waiting.future.done():
                continue
            if isinstance(outcome, Exception):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome)

    async def _outcomes(self, batch: list[_Waiting[ItemT, ResultT]]) -> Sequence[ResultT | Exception]:
        """The result of each, or why it was not stored."""
        try:
            return await self._store([waiting.item for waiting in batch])
        except Exception as error:  # noqa: BLE001  every caller of the batch hears it
            if len(batch) > 1 and _one_to_blame(error):
                return [outcome for waiting in batch for outcome in await self._outcomes([waiting])]
            return [error] * len(batch)


def _one_to_blame(error: Exception) -> bool:
    """Whether one item may be at fault, not the database: then each is tried alone."""
    return not isinstance(error, Unavailable) or error.fields.get("step") == "attach"
