"""The delivery combiner: concurrent deliveries of this process share a transaction.

A delivery waits at most one window for company; while as many batches run as are allowed, the next one fills up. An
item that cannot be stored fails alone. What waits is bounded: beyond that Overloaded is raised (design law 9).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from posthorn_model.errors import Overloaded, PosthornError, Unavailable

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[ItemT, ResultT]):
    item: ItemT
    future: "asyncio.Future[ResultT]"


class Combiner(Generic[ItemT, ResultT]):
    """Groups items and hands them to `store`, which returns a result or an error for each of them."""

    def __init__(
        self,
        store: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT | PosthornError]]],
        *,
        window: float,
        batch: int = 128,
        parallel: int = 4,
        waiting: int = 4096,
    ) -> None:
        self._store = store
        self._window = window
        self._batch = batch
        self._parallel = parallel
        self._limit = waiting
        self._waiting: deque[_Waiting[ItemT, ResultT]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, item: ItemT) -> ResultT:
        """Store one item. Raises what `store` says of it, Overloaded when too many wait.

        A caller that is cancelled while its batch runs leaves the item to be stored all the same.
        """
        if len(self._waiting) >= self._limit:
            raise Overloaded(step="combine", waiting=len(self._waiting))
        waiting = _Waiting[ItemT, ResultT](item, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arm()
        return await waiting.future

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
            self._timer = asyncio.get_running_loop().call_later(self._window, self._fire)

    def _fire(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and len(self._running) < self._parallel:
            count = min(self._batch, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            task = asyncio.get_running_loop().create_task(self._run(batch), name="delivery batch")
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if self._waiting:
            self._fire()

    async def _run(self, batch: list[_Waiting[ItemT, ResultT]]) -> None:
        try:
            outcomes = await self._store([waiting.item for waiting in batch])
        except Exception as error:  # noqa: BLE001  every caller of the batch hears it
            if len(batch) > 1 and _one_to_blame(error):
                for waiting in batch:
                    await self._run([waiting])
                return
            outcomes = [error] * len(batch)  # type: ignore[list-item]
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if waiting.future.done():
                continue
            if isinstance(outcome, Exception):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome)


def _one_to_blame(error: Exception) -> bool:
    """Whether one item may be at fault, not the database: then each is tried alone."""
    return not isinstance(error, Unavailable) or error.fields.get("step") == "attach"
