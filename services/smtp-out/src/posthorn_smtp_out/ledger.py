"""What is written about attempts, in small batches under the shard's lease (flows.md C.3, C.5).

A write waits a few milliseconds for company. What the database cannot take now is tried again as long as the lease
holds: an outcome that is known is not given up lightly. After the lease it is: the next owner treats it as in doubt.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from structlog.typing import FilteringBoundLogger

from posthorn_bus.leases import HeldLease
from posthorn_model.errors import PosthornError
from posthorn_model.mail import NewMessage
from posthorn_model.queue_items import NewQueueMessage, Outcome
from posthorn_smtp_out.figures import Figures
from posthorn_storage import Storage

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
Stored = NewQueueMessage | NewMessage
MAX_BATCH = 500
PAUSE = 0.2
"""Seconds between two tries at a database that does not answer."""


class Batcher(Generic[ItemT, ResultT]):
    """Collects items for `window` seconds and hands them to `write` in one call; all of them hear its result."""

    def __init__(self, write: Callable[[Sequence[ItemT]], Awaitable[ResultT]], window: float) -> None:
        self._write = write
        self._window = window
        self._items: list[ItemT] = []
        self._future: asyncio.Future[ResultT] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, items: Sequence[ItemT]) -> ResultT:
        """Write these items with others; the result is the whole batch's."""
        loop = asyncio.get_running_loop()
        self._items += items
        if self._future is None:
            self._future = loop.create_future()
            self._timer = loop.call_later(self._window, self._fire)
        future = self._future
        if len(self._items) >= MAX_BATCH:
            self._fire()
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Write what waits, and return when it is written."""
        self._fire()
        if self._running:
            await asyncio.wait(set(self._running))

    def _fire(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        items, future = self._items, self._future
        self._items, self._future, self._timer = [], None, None
        if future is not None:
            task = asyncio.create_task(self._run(items, future), name="queue write")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, items: Sequence[ItemT], future: "asyncio.Future[ResultT]") -> None:
        try:
            result = await self._write(items)
        except Exception as error:  # noqa: BLE001 (everybody who waits for this batch hears it)
            if not future.done():
                future.set_exception(error)
                future.exception()  # a caller that was cancelled does not fetch it
        else:
            if not future.done():
                future.set_result(result)


class Ledger:
    """The writes of one shard under one lease."""

    def __init__(
        self,
        storage: Storage,
        shard: int,
        lease: HeldLease,
        *,
        window: float,
        figures: Figures,
        log: FilteringBoundLogger,
    ) -> None:
        self._storage = storage
        self._shard = shard
        self._lease = lease
        self._figures = figures
        self._log = log
        self._starts: Batcher[int, frozenset[int]] = Batcher(self._start, window)
        self._ends: Batcher[tuple[Outcome, Sequence[Stored]], None] = Batcher(self._finish, window)

    async def start(self, recipients: Sequence[int]) -> bool:
        """Write that these are about to be sent (C.3); False when not all of them may be. Raises Unavailable."""
        if not self._lease.is_valid():
            return False
        started = await self._starts.submit(recipients)
        return started.issuperset(recipients) and self._lease.is_valid()

    async def note_attempt(self, recipients: Sequence[int]) -> None:
        """Write an attempt that got no further than the envelope, so that it counts and can have an outcome.

        Tries as long as the lease holds. Never raises.
        """
        while recipients and self._lease.is_valid():
            try:
                await self._starts.submit(recipients)
            except PosthornError as error:
                self._log.warning("attempts wait for the database", reason=error.public, attempts=len(recipients))
                await asyncio.sleep(PAUSE)
            else:
                return

    async def finish(self, outcomes: Sequence[Outcome], reports: Sequence[Stored]) -> None:
        """Write what came of an attempt (C.5), its reports in the same transaction. Never raises."""
        if outcomes:
            first, *others = outcomes
            await self._ends.submit([(first, reports), *((outcome, ()) for outcome in others)])

    async def close(self) -> None:
        """Return when everything is written or given up."""
        await self._starts.close()
        await self._ends.close()

    async def _start(self, recipients: Sequence[int]) -> frozenset[int]:
        return frozenset(await self._storage.queue.start_attempts(list(recipients), self._shard, self._lease.epoch))

    async def _finish(self, entries: Sequence[tuple[Outcome, Sequence[Stored]]]) -> None:
        outcomes = [outcome for outcome, _ in entries]
        reports = [report for _, written in entries for report in written]
        while self._lease.is_valid():
            try:
                changed = await self._storage.queue.finish(outcomes, self._shard, reports)
            except PosthornError as error:
                if not error.temporary:
                    self._log.error("outcomes refused", reason=error.public, outcomes=len(outcomes), **error.fields)
                    return
                self._log.warning("outcomes wait for the database", reason=error.public, outcomes=len(outcomes))
                await asyncio.sleep(PAUSE)
            else:
                if changed < len(outcomes):
                    self._figures.fenced.inc(len(outcomes) - changed)
                    self._log.warning("outcomes came too late", dropped=len(outcomes) - changed)
                return
        self._figures.fenced.inc(len(outcomes))
        self._log.warning("outcomes given up with the lease", outcomes=len(outcomes))
