"""Exclusive work: one run per key in the whole cluster (flows.md D, design law 5).

The bus proposes keys, the lease decides, and a run is started per lease held. A run is asked to end (`lease.ending`)
when its key is proposed to another process, and cancelled when its lease is lost. In one process there are never two
runs of one key. What a run writes carries `lease.epoch`; a run that wakes up late changes nothing.

A coordinator may go on proposing keys to a process that is dead or cannot take them: what nobody holds is adopted by
others (vacancies.py), and handed over when whom it is proposed to asks for it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from posthorn_bus.leases import HeldLease, LeaseKeeper
from posthorn_bus.vacancies import Vacancies
from posthorn_model.errors import PosthornError
from posthorn_model.events import Gap, LeaseAsked, LeaseNotice, Topic
from posthorn_model.ids import Epoch, NodeId
from posthorn_model.ports import Bus

_log = logging.getLogger(__name__)

MIN_PAUSE = 0.01
"""Seconds between two looks at what is to be done, if nothing wakes it."""
Run = Callable[[str, HeldLease], Awaitable[None]]
"""Works under a lease until `lease.ending` is set; starts nothing new unless `lease.may_start()`."""


class Owner:
    """Takes part in sharing out the keys of one family and runs what this process owns."""

    def __init__(
        self,
        bus: Bus,
        keeper: LeaseKeeper,
        node: NodeId,
        family: Topic,
        keys: Sequence[str],
        run: Run,
        *,
        contend: float | None = None,
    ) -> None:
        """`contend`: a key that another node gave back is tried after so many seconds, whoever it is proposed to."""
        self._bus = bus
        self._keeper = keeper
        self._times = keeper.times
        self._node = node
        self._family = family
        self._keys = tuple(keys)
        self._run = run
        self._proposed: frozenset[str] | None = None
        self._adopted: set[str] = set()
        """Held though they are not proposed."""
        self._vacancies = Vacancies(keeper.owner, self._keys, keeper.times.ttl)
        self._contend = contend
        self._contended: set[str] = set()
        self._wishes: dict[str, NodeId] = {}
        self._resting: dict[str, float] = {}
        self._leases: dict[str, HeldLease] = {}
        self._holding: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._hearing: list[asyncio.Task[None]] = []
        self._steering: asyncio.Task[None] | None = None
        self._stopping = False
        self._leaving = False

    @property
    def owned(self) -> Mapping[str, Epoch]:
        """The keys this process may work on now, with their epochs."""
        return {key: lease.epoch for key, lease in self._leases.items() if lease.is_valid()}

    def wish(self, wishes: Mapping[str, NodeId]) -> None:
        """Who shall hold which key, whatever is proposed; a key that is another node's by wish is handed over."""
        if dict(wishes) != self._wishes:
            self._wishes = dict(wishes)
            self._wake.set()

    async def start(self) -> None:
        """Begin in the background. Without keys this process takes no part."""
        if self._keys:
            name = f"bus: own {self._family}"
            self._hearing = [asyncio.create_task(part, name=name) for part in (self._hear_proposals(), self._hear())]
            self._steering = asyncio.create_task(self._steer(), name=name)

    def leave(self) -> None:
        """Take no key any more, and let the others be proposed those that are held here: they are about to be free."""
        self._leaving = True
        for task in self._hearing:
            task.cancel()

    async def stop(self) -> None:
        """Clean hand-over: end the runs, give the leases back, tell the bus, leave the group."""
        self._stopping = True
        self.leave()
        self._wake.set()
        for lease in self._leases.values():
            lease.end()
        if self._steering is not None:
            # Not cancelled: a statement under way may be taking leases, which would then be nobody's until they expire.
            await asyncio.wait({self._steering})
        for lease in self._leases.values():
            lease.end()
        leaving = [*self._hearing, *self._holding.values()]
        if leaving:
            # A run that does not even end when cancelled keeps its lease until that expires.
            _, stuck = await asyncio.wait(leaving, timeout=self._times.patience + self._times.ttl / 2)
            for task in stuck:
                _log.error("still running at the end of the hand-over: %s", task.get_name())

    async def _hear_proposals(self) -> None:
        async for proposed in self._bus.propose(self._family, self._keys):
            self._proposed = proposed.intersection(self._keys)
            self._adopted.clear()
            self._wake.set()

    async def _hear(self) -> None:
        async for event in self._bus.subscribe(self._family):
            if isinstance(event, Gap):
                self._wake.set()
            elif isinstance(event, LeaseAsked):
                if event.key in self._adopted:
                    self._adopted.discard(event.key)
                    self._wake.set()
            elif isinstance(event, LeaseNotice) and event.held:
                if event.key not in self._leases:
                    self._vacancies.taken(event.key, self._keeper.clock.monotonic())
            elif isinstance(event, LeaseNotice):
                self._wake.set()
                if self._contend is not None and event.key in self._keys and event.node != self._node:
                    asyncio.get_running_loop().call_later(self._contend, self._stand_in, event.key)

    def _stand_in(self, key: str) -> None:
        """Nobody may have taken what was given back: try it once."""
        self._contended.add(key)
        self._wake.set()

    async def _steer(self) -> None:
        monotonic = self._keeper.clock.monotonic
        looked = monotonic()
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            self._wake.clear()
            if self._proposed is None or self._leaving:
                continue
            if monotonic() - looked >= self._times.ttl / 4:
                looked = monotonic()
                await self._look()
            now = monotonic()
            self._resting = {key: until for key, until in self._resting.items() if until > now}
            contended, self._contended = self._contended, set()
            contended |= self._vacancies.open(now, len(self._leases), self._shut())
            await self._follow(self._wanted(contended))
            self._adopted |= contended.intersection(self._holding) - self._proposed

    def _pause(self) -> float:
        """Seconds until there is something to do, unless it is woken."""
        if self._proposed is None or self._leaving:
            return self._times.poll
        now = self._keeper.clock.monotonic()
        soon = self._vacancies.next(now, len(self._leases), self._shut(), self._proposed)
        return max(MIN_PAUSE, min(self._times.poll, soon - now))

    def _shut(self) -> frozenset[str]:
        """What is not asked for now, whoever holds it."""
        return frozenset((*self._holding, *self._resting, *self._wished_away()))

    def _wished_away(self) -> frozenset[str]:
        return frozenset(key for key, node in self._wishes.items() if node != self._node)

    def _wanted(self, contended: Collection[str]) -> frozenset[str]:
        assert self._proposed is not None
        here = {key for key in self._keys if self._wishes.get(key) == self._node}
        return ((self._proposed | self._adopted.union(contended)) - self._wished_away()) | here

    async def _follow(self, wanted: frozenset[str]) -> None:
        """Hand over what is not wanted any more, try to take what is."""
        for key, lease in self._leases.items():
            if key not in wanted:
                lease.end()
        if self._leaving:
            return  # it was told to while it looked
        missing = wanted.difference(self._holding, self._resting)
        for lease in await self._keeper.acquire(missing):
            self._leases[lease.key] = lease
            self._holding[lease.key] = asyncio.create_task(self._hold(lease), name=f"bus: hold {lease.key}")
        self._vacancies.asked(missing, self._keeper.clock.monotonic())

    async def _look(self) -> None:
        """Read who holds what, and ask for what is proposed to this process and held by others."""
        prefix = self._keys[0].partition("/")[0] + "/"
        try:
            async with asyncio.timeout(self._times.ttl / 2):
                holders = await self._keeper.store.holders(prefix)
        except (PosthornError, TimeoutError) as error:
            _log.warning("holders of %s not read: %s", prefix, error)
            return
        self._vacancies.look(holders, self._keeper.clock.monotonic())
        if self._proposed is None or len(self._proposed) == len(self._keys):
            return  # without a coordinator everything is proposed to everybody: who has a key keeps it
        for key in sorted(self._proposed - self._shut()):
            if self._vacancies.elsewhere(key):
                self._bus.publish(LeaseAsked(key, self._node))

    async def _hold(self, lease: HeldLease) -> None:
        """Run under a lease, from its taking to its end."""
        self._bus.publish(LeaseNotice(lease.key, self._node, lease.epoch, held=True))
        run = asyncio.create_task(self._guarded(lease), name=f"run {lease.key}")
        await _either(run, lease.ending)
        if not run.done():
            await _either(run, lease.gone, timeout=self._times.patience)
        run.cancel()
        await asyncio.wait({run})
        if not lease.gone.is_set():
            if not lease.ending.is_set():
                self._resting[lease.key] = self._keeper.clock.monotonic() + self._times.rest
            await self._keeper.release((lease,))
            self._bus.publish(LeaseNotice(lease.key, self._node, lease.epoch, held=False))
        self._adopted.discard(lease.key)
        # Only now may the key be taken again: an earlier taking would be undone by the release above.
        del self._leases[lease.key], self._holding[lease.key]
        self._wake.set()

    async def _guarded(self, lease: HeldLease) -> None:
        try:
            await self._run(lease.key, lease)
        except Exception:  # noqa: BLE001 - the top of a run: it is logged, its key goes to another process
            _log.exception("the run of %s failed", lease.key)


async def _either(run: asyncio.Task[None], event: asyncio.Event, timeout: float | None = None) -> None:
    """Wait until the run ended or the event was set, or for `timeout` seconds."""
    waiter = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({run, waiter}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
