"""One queue shard under one lease: claims what is due, starts attempts, sleeps until something is due or wakes it."""

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime

from posthorn_bus.leases import HeldLease
from posthorn_model.errors import PosthornError
from posthorn_smtp_out.attempt import attempt, may_wait, postpone
from posthorn_smtp_out.groups import Group, grouped
from posthorn_smtp_out.ledger import Ledger
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.pool import BackingOff, NotNow
from posthorn_smtp_out.routes import Destination
from posthorn_smtp_out.tenure import Tenure
from posthorn_smtp_out.widening import Widening
from posthorn_storage.queue import Claim

MIN_PAUSE = 0.01
"""Seconds between two claims: a storm of events costs no more than a hundred claims a second."""
LAST_SECONDS = 5.0
"""How long attempts may go on that have not come to the end of their content when their shard is given back."""
MAX_CLAIMS = 5
"""In a row, while what they bring makes way for others."""


class ShardWorker:
    """Works until its lease ends or `drain` is called; attempts under way are finished first.

    Messages that wait for a connection then are left to the next owner, and after a while those whose content has not
    ended. Who has been sent a whole message may take as long to say so as the shard can be kept: otherwise it would be
    sent again.

    Connections to the shard's sites are this tenure's own: a site is in one shard, a shard has one owner, so the limits
    of a site hold in the whole cluster. They are closed before the shard is given back, and cut when it is lost. Those
    to sites that are spread over several shards are the process's, by its part of their limits.
    """

    def __init__(self, parts: Parts, shard: int, lease: HeldLease) -> None:
        self._parts = parts
        self._shard = shard
        self._lease = lease
        self._log = parts.log.bind(shard=shard, epoch=lease.epoch)
        ledger = Ledger(parts.attempts, shard, lease, figures=parts.figures, log=self._log)
        self._tenure = Tenure(shard, lease, ledger, sites=parts.new_pool(), shared=parts.pool)
        self._busy: set[int] = set()
        self._tasks: dict[asyncio.Task[None], set[int]] = {}
        """Attempts, and their recipients."""
        self._at_hand: Counter[str] = Counter()
        """Messages of each destination."""
        self._full: dict[str, str] = {}
        """Sites that are not asked for more for now, and their destinations' keys."""
        self._wake = asyncio.Event()
        self._widening = Widening(parts, self._tenure, self._at_hand, self._log, self._wake.set)
        self._more = False
        """The last claim was cut off by its limit: more is due than was taken."""

    def become(self, parts: Parts) -> None:
        """Go on with these, from the next claim on."""
        self._parts = parts
        self._tenure.sites.become(parts.new_pool())

    def wake(self) -> None:
        """Look at the shard now."""
        self._wake.set()

    def drain(self) -> None:
        """Start nothing new; `run` returns when what is under way has been written."""
        self._tenure.leaving.set()
        self._wake.set()

    async def run(self) -> None:
        """Returns after a clean hand-over; cancelled, it leaves what was in flight to the next owner's doubt."""
        ending = asyncio.create_task(self._wake_at_the_end(), name="lease end")
        try:
            await self._know_what_is_spread()
            await self._settle()
            while not self._tenure.ends():
                pause = await self._look() if self._lease.may_start() else self._parts.settings.poll
                self._wake.clear()
                if self._tenure.ends():
                    break
                await asyncio.sleep(MIN_PAUSE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
            await self._finish()
            await self._tenure.sites.close()
        finally:
            ending.cancel()
            self._widening.stop()
            for task in self._tasks:
                task.cancel()
            self._tenure.sites.abort()

    async def _finish(self) -> None:
        """See the head of the class."""
        for pool in (self._tenure.sites, self._tenure.shared):
            pool.dismiss_in_vain()
        if self._tasks:
            await asyncio.wait(self._tasks.copy(), timeout=LAST_SECONDS)
        for task, recipients in self._tasks.items():
            if not self._tenure.ledger.is_open(recipients):
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.copy())

    async def _know_what_is_spread(self) -> None:
        """Of the others this owner has the whole limits: under the lease nobody else can change it any more."""
        while not self._tenure.ends():
            try:
                await self._parts.spreads.read()
            except PosthornError as error:
                self._log.warning("spread sites not read", reason=error.public)
                await asyncio.sleep(self._parts.settings.poll)
            else:
                return

    async def _settle(self) -> None:
        """What the version before has closed is in the way of claims; the next owner goes on with the rest."""
        try:
            while not self._tenure.ends() and await self._parts.storage.queue.settle(self._shard, self._lease.epoch):
                pass
        except PosthornError as error:
            self._log.warning("not settled", reason=error.public)

    async def _wake_at_the_end(self) -> None:
        await self._lease.ending.wait()
        self._wake.set()

    async def _look(self) -> float:
        """Start attempts for what is due; returns how long to sleep when nothing wakes us (C.1)."""
        try:
            await self._widening.look(busy=self._more or bool(self._full))
            for _ in range(MAX_CLAIMS):
                found, put_back = await self._claim()
                if not put_back:
                    break
            else:
                return MIN_PAUSE  # look what is behind them
            soon = await self._parts.storage.queue.next_due(self._shard) if not found and not self._full else None
        except PosthornError as error:
            self._log.warning("cannot claim", reason=error.public)
            return self._parts.settings.poll
        if soon is None:
            return self._parts.settings.poll
        left = (soon - datetime.fromtimestamp(self._parts.clock.time(), UTC)).total_seconds()
        return max(MIN_PAUSE, min(left, self._parts.settings.poll))

    async def _claim(self) -> tuple[int, int]:
        """How many recipients were due, and how many of them make way for others: of paused and of full destinations.

        Sites with enough at hand are not asked for again until they have less, so that others get their turn.
        """
        limit = self._parts.settings.in_progress - len(self._busy)
        if limit <= 0 or self._parts.brakes.everything:
            self._more = True
            return 0, 0
        left_out = self._busy, (*self._full, *self._widening.sites)
        due = await self._parts.attempts.claim(Claim(self._shard, self._lease.epoch, limit, *left_out))
        self._more = len(due) >= limit
        going = await self._parts.brakes.pass_on(due, self._shard, self._lease.epoch)
        going = await self._parts.spreads.in_place(going, self._shard, self._lease.epoch)
        going = self._widening.take(going)
        put_back = len(due) - len(going)
        waiting: dict[str, tuple[BackingOff, list[Group]]] = {}
        for group in grouped(going, self._transaction):
            destination = self._destination(group.site)
            pool = None if destination is None else self._tenure.pool(destination)
            if pool is not None and destination is not None:
                reason = pool.backs_off(destination) or self._parts.warming.spent(
                    self._parts.sources.chosen(destination, group.first.sender).name
                )
                if reason is not None and may_wait(self._parts, group):
                    waiting.setdefault(reason.reply.text, (reason, []))[1].append(group)
                    continue
                if self._at_hand[destination.key] >= pool.pace(destination).room(relay=destination.relay is not None):
                    self._full[group.site] = destination.key
                    put_back += len(group.recipients)
                    continue
            self._start(group, "" if destination is None else destination.key)
        for why, groups in waiting.values():
            await postpone(self._parts, self._tenure, groups, why)
        return len(due), put_back

    def _transaction(self, site: str) -> int:
        destination = self._destination(site)
        if destination is None:
            return self._parts.settings.recipients_per_transaction
        return self._tenure.pool(destination).pace(destination).transaction

    def _destination(self, site: str) -> Destination | None:
        """None for mailboxes of the cluster."""
        return None if site == "local" else self._parts.router.destination(site)

    def _start(self, group: Group, key: str) -> None:
        ids = {recipient.id for recipient in group.recipients}
        self._busy |= ids
        self._at_hand[key] += 1
        task = asyncio.create_task(self._attempt(group), name=f"attempt {group.message}")
        self._tasks[task] = ids

        def done(finished: "asyncio.Task[None]") -> None:
            del self._tasks[finished]
            self._busy.difference_update(ids)
            self._at_hand[key] -= 1
            if not self._at_hand[key]:
                del self._at_hand[key]
            self._widening.ended()
            self._ask_again(key)
            if self._more and len(self._busy) <= self._parts.settings.in_progress // 2:
                self._wake.set()

        task.add_done_callback(done)

    def _ask_again(self, key: str) -> None:
        """A destination has less at hand than before: half of what it may have is the time to ask for more."""
        sites = [site for site, of in self._full.items() if of == key]
        destination = self._destination(sites[0]) if sites else None
        if destination is None:
            return
        room = self._tenure.pool(destination).pace(destination).room(relay=destination.relay is not None)
        if self._at_hand[key] <= room // 2:
            for site in sites:
                del self._full[site]
            self._wake.set()

    async def _attempt(self, group: Group) -> None:
        try:
            await attempt(self._parts, self._tenure, group)
        except NotNow:
            return
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
        """Something became due for a site with this home; None: perhaps anywhere."""
        woken = None if shard is None else self._parts.spreads.woken_with(shard)
        for number, worker in self._workers.items():
            if woken is None or number in woken:
                worker.wake()

    async def drain(self) -> None:
        """Start nothing new, and return when every outcome is written."""
        self._draining = True
        for worker in self._workers.values():
            worker.drain()
        await self._idle.wait()
