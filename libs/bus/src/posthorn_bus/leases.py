"""The leases of one process: taken, renewed in one statement, given back, and lost in time.

The rules (flows.md D): the database decides who owns a key. The local deadline is counted from before the statement was
sent, on the monotonic clock, so it passes before the database's; in the last seconds nothing new is started; after it
the lease is lost here, whatever the database says. It starts and cancels nothing itself: see ownership.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

from posthorn_model.errors import PosthornError
from posthorn_model.ids import Epoch
from posthorn_model.ports import Clock, Lease, LeaseStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Times in seconds. `margin`: nothing new is started in the last so many seconds of a lease."""

    ttl: float = 8.0
    margin: float = 2.0
    poll: float = 1.0
    """How often keys that are wanted but held elsewhere are tried again."""
    patience: float = 0.6
    """How long a run may take to end by itself when its key is handed over; then it is cancelled."""
    rest: float = 5.0
    """How long a key whose run ended by itself is left to others."""

    def __post_init__(self) -> None:
        if not 0 < self.margin < self.ttl * 2 / 3:
            raise ValueError("the margin must be shorter than two thirds of the lease")

    @classmethod
    def of(cls, ttl: float, *, patience: float = patience) -> Self:
        """For leases of so many seconds: who has short ones wants what is free to be noticed sooner too.

        Of short ones the margin is a quarter: a renewal that takes as long as until the next one stops nothing.
        """
        return cls(ttl=ttl, margin=min(2.0, ttl / 4), poll=min(1.0, ttl / 8), patience=patience)


class HeldLease:
    """A lease while it is held; `deadline` (monotonic seconds) moves on with every renewal."""

    def __init__(self, lease: Lease, clock: Clock, margin: float) -> None:
        self.key = lease.key
        self.epoch: Epoch = lease.epoch
        self.deadline = lease.deadline
        self.ending = asyncio.Event()
        """Set when the key is to be handed over or was lost: end soon, start nothing."""
        self.gone = asyncio.Event()
        """Set when the lease was lost."""
        self._clock = clock
        self._margin = margin

    def may_start(self) -> bool:
        """Whether something new may be started under this lease now."""
        return not self.ending.is_set() and self._clock.monotonic() < self.deadline - self._margin

    def is_valid(self) -> bool:
        """Whether what runs under this lease may go on."""
        return not self.gone.is_set() and self._clock.monotonic() < self.deadline

    def snapshot(self) -> Lease:
        """The lease as a value, with the deadline of this moment."""
        return Lease(self.key, self.epoch, self.deadline)

    def end(self) -> None:
        """Ask what runs under it to end, for a hand-over."""
        self.ending.set()

    def lose(self) -> None:
        self.gone.set()
        self.ending.set()


class LeaseKeeper:
    """Keeps all leases of one process. `owner` must be unique for one life of one process."""

    def __init__(self, store: LeaseStore, owner: str, clock: Clock, times: LeaseTimes | None = None) -> None:
        self.times = times or LeaseTimes()
        self.owner = owner
        self.clock = clock
        self.store = store
        self._held: dict[str, HeldLease] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._renewal: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._renewal = asyncio.create_task(self._renew_for_ever(), name="bus: renew leases")

    async def stop(self) -> None:
        """Stop renewing and give back what is still held."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        await self.release(tuple(self._held.values()))

    async def acquire(self, keys: Collection[str]) -> Sequence[HeldLease]:
        """Try to take `keys`; returns the leases that were taken, none when the database does not answer."""
        wanted = [key for key in keys if key not in self._held]
        if not wanted:
            return ()
        sent = self.clock.monotonic()
        try:
            async with asyncio.timeout(self.times.ttl / 2):
                taken = await self.store.acquire(wanted, self.owner, self.times.ttl)
        except (PosthornError, TimeoutError) as error:
            _log.warning("no leases taken: %s", error)
            return ()
        fresh = []
        for key, epoch in taken.items():
            lease = HeldLease(Lease(key, epoch, sent + self.times.ttl), self.clock, self.times.margin)
            self._held[key] = lease
            self._watch(lease)
            fresh.append(lease)
        return fresh

    async def release(self, leases: Collection[HeldLease]) -> None:
        """Give leases back at once. When the database does not answer they expire by themselves."""
        mine = [lease for lease in leases if self._held.get(lease.key) is lease]
        for lease in mine:
            lease.end()
            self._forget(lease)
        if not mine:
            return
        try:
            async with asyncio.timeout(self.times.ttl / 2):
                await self.store.release({lease.key: lease.epoch for lease in mine}, self.owner)
        except (PosthornError, TimeoutError) as error:
            _log.warning("leases not given back, they will expire: %s", error)

    async def _renew_for_ever(self) -> None:
        usual, soon = self.times.ttl / 3, min(1.0, self.times.ttl / 10)
        pause = usual
        while True:
            await asyncio.sleep(pause)
            pause = usual if await self._renew() else soon

    async def _renew(self) -> bool:
        held = {lease.key: lease.epoch for lease in self._held.values()}
        if not held:
            return True
        sent = self.clock.monotonic()
        try:
            async with asyncio.timeout(self.times.ttl / 2):
                kept = frozenset(await self.store.renew(held, self.owner, self.times.ttl))
        except (PosthornError, TimeoutError) as error:
            _log.warning("leases not renewed: %s", error)
            return False
        except Exception:  # noqa: BLE001 - without renewals every lease of the process is lost; the next try may work
            _log.exception("leases not renewed")
            return False
        for key, epoch in held.items():
            lease = self._held.get(key)
            if lease is None or lease.epoch != epoch:
                continue  # given back, or lost and taken anew, while the statement was under way
            if key in kept:
                lease.deadline = max(lease.deadline, sent + self.times.ttl)
            else:
                self._lose(lease, "another owner has it")
        return True

    def _watch(self, lease: HeldLease) -> None:
        """Lose the lease when its deadline passes; looks again when it has moved meanwhile."""
        left = lease.deadline - self.clock.monotonic()
        if left <= 0:
            self._lose(lease, "not renewed in time")
        else:
            self._timers[lease.key] = asyncio.get_running_loop().call_later(left, self._watch, lease)

    def _lose(self, lease: HeldLease, reason: str) -> None:
        _log.warning("lease %s of epoch %d lost: %s", lease.key, lease.epoch, reason)
        self._forget(lease)
        lease.lose()

    def _forget(self, lease: HeldLease) -> None:
        self._held.pop(lease.key, None)
        timer = self._timers.pop(lease.key, None)
        if timer is not None:
            timer.cancel()
