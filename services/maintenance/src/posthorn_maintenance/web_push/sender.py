"""Pushes for the accounts of one shard: asks who is behind, keeps so many pushes going, writes what came of them.

It holds nothing that the database does not have: which accounts were heard of is a hint, and who is pushed to at the
moment is found behind again by whoever comes next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from posthorn_maintenance.jobs.job import Tenure
from posthorn_maintenance.web_push.figures import Figures
from posthorn_maintenance.web_push.push import failed
from posthorn_model.errors import LeaseLost, PosthornError
from posthorn_model.ids import AccountId
from posthorn_model.ports import Clock
from posthorn_node.settings import WebPushSettings
from posthorn_storage.push import DuePush, Outcome, PushTasks

MOST_ASKED: Final = 1000
"""Accounts that are asked about in one statement, and outcomes that are written in one."""
MOST_WAITING: Final = 100_000
"""Accounts heard of that wait; with more all are looked at."""
RETRY_SECONDS: Final = 1.0
END_SECONDS: Final = 2.0
"""For pushes that are under way when the role is handed over."""


class Sender:
    """See the module. `push` makes one push and says what came of it; it raises nothing that is foreseen."""

    def __init__(
        self,
        shard: str,
        tasks: PushTasks,
        tenure: Tenure,
        settings: WebPushSettings,
        push: Callable[[DuePush], Awaitable[Outcome]],
        clock: Clock,
        figures: Figures,
    ) -> None:
        self.shard = shard
        self._tasks = tasks
        self._tenure = tenure
        self._settings = settings
        self._push = push
        self._clock = clock
        self._figures = figures
        self._waiting: dict[AccountId, float] = {}
        """Accounts that changed, the earliest first, and when they are to be asked about."""
        self._look_at = float("-inf")
        self._running: dict[int, asyncio.Task[None]] = {}
        """By the subscription, until the outcome is written."""
        self._done: list[Outcome] = []
        self._wake = asyncio.Event()

    def heard(self, account: AccountId) -> None:
        """This account changed."""
        if len(self._waiting) >= MOST_WAITING:
            self.look()
        elif account not in self._waiting:
            self._waiting[account] = self._clock.monotonic() + self._settings.delay
            self._wake.set()

    def look(self) -> None:
        """Something may have been missed: look at all."""
        self._waiting.clear()
        self._look_at = float("-inf")
        self._wake.set()

    async def work(self) -> None:
        """Push until the role is to be handed over. Raises LeaseLost."""
        ending = asyncio.create_task(self._end(), name=f"push: end {self.shard}")
        try:
            while not self._tenure.ending:
                try:
                    await self._settle()
                    pause = await self._begin()
                except LeaseLost:
                    raise
                except PosthornError as error:
                    self._tenure.log.warning("not pushed, it is tried again", shard=self.shard, reason=error.public)
                    pause = RETRY_SECONDS
                await self._rest(pause)
            if self._running:
                await asyncio.wait(self._running.values(), timeout=END_SECONDS)
            await self._settle()
        finally:
            for task in (ending, *self._running.values()):
                task.cancel()

    async def _begin(self) -> float:
        """Begin what is due and there is room for; returns the seconds until more may be."""
        now = self._clock.monotonic()
        room = self._settings.connections - len(self._running)
        if not self._tenure.lease.may_start() or room <= 0:
            return RETRY_SECONDS
        if now >= self._look_at:
            if await self._take(room, None) < room:
                self._look_at = now + self._settings.interval
                await self._count()
        elif ready := self._ready(now):
            try:
                full = await self._take(room, ready) >= room
            except PosthornError:
                self._again(ready, now)
                raise
            if full:
                self._again(ready, now)
        at = min(self._look_at, next(iter(self._waiting.values()), self._look_at))
        return max(0.0, at - self._clock.monotonic())

    def _ready(self, now: float) -> list[AccountId]:
        """Accounts whose time has come; what is heard of them from now on counts anew."""
        ready: list[AccountId] = []
        for account, at in self._waiting.items():
            if at > now or len(ready) >= MOST_ASKED:
                break
            ready.append(account)
        for account in ready:
            del self._waiting[account]
        return ready

    def _again(self, accounts: Collection[AccountId], at: float) -> None:
        for account in accounts:
            self._waiting.setdefault(account, at)

    async def _take(self, room: int, accounts: Collection[AccountId] | None) -> int:
        """Begin up to `room` pushes that are due; returns how many were."""
        share = self._tenure.share
        due, broken = await self._tasks.due(
            room, accounts=accounts, without=list(self._running), part=share.part, parts=share.parts
        )
        self._done += broken
        for push in due:
            if push.verified and not push.kinds:
                self._done.append(Outcome(push.account, push.id, push.modseq))
            else:
                task = asyncio.create_task(self._one(push), name=f"push {push.id}")
                self._running[push.id] = task
        if self._done:
            self._wake.set()
        return len(due) + len(broken)

    async def _one(self, due: DuePush) -> None:
        try:
            outcome = await self._push(due)
        except Exception:
            self._tenure.log.exception("push failed", account=due.account, subscription=due.id)
            outcome = failed(due, "internal error: the log says more")
        self._done.append(outcome)
        self._wake.set()

    async def _settle(self) -> None:
        """Write what came of pushes, under the lease. Raises LeaseLost."""
        while batch := self._done[:MOST_ASKED]:
            await self._tasks.settle(self._tenure.fence, batch)
            del self._done[: len(batch)]
            for outcome in batch:
                self._running.pop(outcome.id, None)
                if outcome.pushed:
                    self.heard(outcome.account)  # what changed while it was pushed to was heard, and passed over

    async def _count(self) -> None:
        share = self._tenure.share
        known, behind = await self._tasks.counts(part=share.part, parts=share.parts)
        self._figures.subscriptions.labels(self.shard).set(known)
        self._figures.behind.labels(self.shard).set(behind)

    async def _rest(self, seconds: float) -> None:
        """Wait for so long, or until there is something to do."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _end(self) -> None:
        await self._tenure.lease.ending.wait()
        self._wake.set()
