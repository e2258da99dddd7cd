"""Exclusive work: one run per key in the whole cluster (flows.md D, design law 5).

The bus proposes keys, the lease decides, and a run is started per lease held. A run is asked to end (`lease.ending`)
when its key is proposed to another process, and cancelled when its lease is lost. In one process there are never two
runs of one key. What a run writes carries `lease.epoch`; a run that wakes up late changes nothing.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from posthorn_bus.leases import HeldLease, LeaseKeeper
from posthorn_model.errors import PosthornError
from posthorn_model.events import Gap, LeaseNotice, Topic
from posthorn_model.ids import Epoch, NodeId
from posthorn_model.ports import Bus

_log = logging.getLogger(__name__)

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
        self._contend = contend
        self._contended: set[str] = set()
        self._wishes: dict[str, NodeId] = {}
        self._bare: dict[str, float] = {}
        self._resting: dict[str, float] = {}
        self._leases: dict[str, HeldLease] = {}
        self._holding: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._hearing: list[asyncio.Task[None]] = []
        self._steering: asyncio.Task[None] | None = None
        self._stopping = False

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

    async def stop(self) -> None:
        """Clean hand-over: end the runs, give the leases back, tell the bus, leave the group."""
        self._stopping = True
        self._wake.set()
        for task in self._hearing:
            task.cancel()
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
            elif isinstance(event, LeaseNotice) and not event.held:
                self._wake.set()
                if self._contend is not None and event.key in self._keys and event.node != self._node:
                    asyncio.get_running_loop().call_later(self._contend, self._stand_in, event.key)

    def _stand_in(self, key: str) -> None:
        """Nobody may have taken what was given back: try it once."""
        self._contended.add(key)
        self._wake.set()

    async def _steer(self) -> None:
        looked = self._keeper.clock.monotonic()
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._times.poll):
                    await self._wake.wait()
            self._wake.clear()
            if self._proposed is None or self._stopping:
                continue
            if self._keeper.clock.monotonic() - looked >= self._times.ttl / 4:
                looked = self._keeper.clock.monotonic()
                await self._adopt()
            contended, self._contended = self._contended, set()
            await self._follow(self._wanted(contended))
            self._adopted |= contended.intersection(self._holding)

    def _wanted(self, contended: Collection[str]) -> frozenset[str]:
        assert self._proposed is not None
        here = {key for key in self._keys if self._wishes.get(key) == self._node}
        elsewhere = self._wishes.keys() - here
        return ((self._proposed | self._adopted.union(contended)) - elsewhere) | here

    async def _follow(self, wanted: frozenset[str]) -> None:
        """Hand over what is not wanted any more, try to take what is."""
        for key, lease in self._leases.items():
            if key not in wanted:
                lease.end()
        now = self._keeper.clock.monotonic()
        self._resting = {key: until for key, until in self._resting.items() if until > now}
        missing = wanted.difference(self._holding, self._resting)
        for lease in await self._keeper.acquire(missing):
            self._leases[lease.key] = lease
            self._holding[lease.key] = asyncio.create_task(self._hold(lease), name=f"bus: hold {lease.key}")

    async def _adopt(self) -> None:
        """Take over keys that nobody has held for a while, whoever they are proposed to.

        A coordinator may go on proposing keys to a process that is dead or cannot take them.
        """
        prefix = self._keys[0].partition("/")[0] + "/"
        try:
            async with asyncio.timeout(self._times.ttl / 2):
                holders = await self._keeper.store.holders(prefix)
        except (PosthornError, TimeoutError) as error:
            _log.warning("holders of %s not read: %s", prefix, error)
            return
        now = self._keeper.clock.monotonic()
        bare = [key for key in self._keys if not (key in holders and holders[key][2])]
        self._bare = {key: self._bare.get(key, now) for key in bare}
        self._adopted.update(key for key, since in self._bare.items() if now - since >= self._times.ttl / 2)

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
                self._adopted.discard(lease.key)
            await self._keeper.release((lease,))
            self._bus.publish(LeaseNotice(lease.key, self._node, lease.epoch, held=False))
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
