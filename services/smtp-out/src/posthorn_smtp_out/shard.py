"""One queue shard under one lease: claims what is due, starts attempts, sleeps until something is due or wakes it."""

import asyncio
import contextlib
from datetime import UTC, datetime

from posthorn_bus.leases import HeldLease
from posthorn_model.errors import PosthornError
from posthorn_smtp_out.attempt import attempt
from posthorn_smtp_out.groups import Group, grouped
from posthorn_smtp_out.ledger import Ledger
from posthorn_smtp_out.parts import Parts

MIN_PAUSE = 0.01
"""Seconds between two claims: a storm of events costs no more than a hundred claims a second."""


class ShardWorker:
    """Works until its lease ends or `drain` is called; attempts under way are finished first."""

    def __init__(self, parts: Parts, shard: int, lease: HeldLease) -> None:
        self._parts = parts
        self._shard = shard
        self._lease = lease
        self._log = parts.log.bind(shard=shard, epoch=lease.epoch)
        self._ledger = Ledger(parts.attempts, shard, lease, figures=parts.figures, log=self._log)
        self._busy: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._draining = False
        self._more = False
        """The last claim was cut off by its limit: more is due than was taken."""

    def become(self, parts: Parts) -> None:
        """Go on with these, from the next claim on."""
        self._parts = parts

    def wake(self) -> None:
        """Look at the shard now."""
        self._wake.set()

    def drain(self) -> None:
        """Start nothing new; `run` returns when what is under way has been written."""
        self._draining = True
        self._wake.set()

    async def run(self) -> None:
        """Returns after a clean hand-over; cancelled, it leaves what was in flight to the next owner's doubt."""
        ending = asyncio.create_task(self._wake_at_the_end(), name="lease end")
        try:
            while not self._draining and not self._lease.ending.is_set():
                pause = await self._claim() if self._lease.may_start() else self._parts.settings.poll
                self._wake.clear()
                if self._draining or self._lease.ending.is_set():
                    break
                await asyncio.sleep(MIN_PAUSE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
            if self._tasks:
                await asyncio.wait(set(self._tasks))
        finally:
            ending.cancel()
            for task in self._tasks:
                task.cancel()

    async def _wake_at_the_end(self) -> None:
        await self._lease.ending.wait()
        self._wake.set()

    async def _claim(self) -> float:
        """Start attempts for what is due; returns how long to sleep when nothing wakes us (C.1)."""
        queue, poll = self._parts.storage.queue, self._parts.settings.poll
        limit = self._parts.settings.in_progress
        try:
            limit -= len(self._busy)
            if limit <= 0 or self._parts.brakes.everything:
                self._more = True
                return poll
            due = await queue.claim(self._shard, self._lease.epoch, limit, exclude=self._busy)
            self._more = len(due) >= limit
            going = await self._parts.brakes.pass_on(due, self._shard, self._lease.epoch)
            for group in grouped(going, self._parts.settings.recipients_per_transaction):
                self._start(group)
            if len(going) < len(due):
                return MIN_PAUSE  # some were put out of the way: look what is behind them
            soon = await queue.next_due(self._shard) if not due else None
        except PosthornError as error:
            self._log.warning("cannot claim", reason=error.public)
            return poll
        if soon is None:
            return poll
        left = (soon - datetime.fromtimestamp(self._parts.clock.time(), UTC)).total_seconds()
        return max(MIN_PAUSE, min(left, poll))

    def _start(self, group: Group) -> None:
        ids = {recipient.id for recipient in group.recipients}
        self._busy |= ids
        task = asyncio.create_task(self._attempt(group), name=f"attempt {group.message}")
        self._tasks.add(task)

        def done(finished: "asyncio.Task[None]") -> None:
            self._tasks.discard(finished)
            self._busy.difference_update(ids)
            if self._more and len(self._busy) <= self._parts.settings.in_progress // 2:
                self._wake.set()

        task.add_done_callback(done)

    async def _attempt(self, group: Group) -> None:
        try:
            await attempt(self._parts, self._ledger, self._lease, group)
        except PosthornError as error:
            self._log.warning("attempt put off", queue_message=group.message, reason=error.public)
        except Exception:  # noqa: BLE001 (the top of a task: the shard goes on with the others)
            self._parts.figures.bugs.inc()
            self._log.exception("outcome not written", queue_message=group.message)


class Shards:
    """The shards this process owns at the moment."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._workers: dict[int, ShardWorker] = {}
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self, key: str, lease: HeldLease) -> None:
        """Work on the shard of a lease key, "queue/<n>", until it is handed over."""
        shard = int(key.rpartition("/")[2])
        worker = ShardWorker(self._parts, shard, lease)
        if self._draining:
            return
        self._workers[shard] = worker
        self._idle.clear()
        self._parts.figures.shards.set(len(self._workers))
        try:
            await worker.run()
        finally:
            del self._workers[shard]
            self._parts.figures.shards.set(len(self._workers))
            if not self._workers:
                self._idle.set()

    def become(self, parts: Parts) -> None:
        """Go on with these: what is under way ends as it began."""
        self._parts = parts
        for worker in self._workers.values():
            worker.become(parts)

    def wake(self, shard: int | None = None) -> None:
        """Something became due in a shard; None: perhaps in any."""
        for number, worker in self._workers.items():
            if shard is None or number == shard:
                worker.wake()

    async def drain(self) -> None:
        """Start nothing new, and return when every outcome is written."""
        self._draining = True
        for worker in self._workers.values():
            worker.drain()
        await self._idle.wait()
