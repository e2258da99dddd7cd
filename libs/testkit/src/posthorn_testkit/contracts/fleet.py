"""Buses of one cluster for the contract of the Bus port: each station is what one process would have.

The coordinator and the lease table are real; a process that must be paused as a whole is a process of its own.
"""

import abc
import asyncio
import json
import os
import pickle
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

from posthorn_bus import BusIdentity, BusSettings, HeldLease, LeaseKeeper, LeaseTimes, Owner, open_bus
from posthorn_bus.ownership import Run
from posthorn_model.clock import SystemClock
from posthorn_model.cluster import Process
from posthorn_model.events import (
    Changed,
    Control,
    Event,
    Gap,
    LeaseNotice,
    NodeNotice,
    QueueDue,
    Received,
    Topic,
)
from posthorn_model.ids import AccountId, Epoch, Modseq, NodeId
from posthorn_model.ports import Bus, PeerDirectory
from posthorn_storage.database import Database
from posthorn_storage.leases import LeaseStore
from posthorn_storage.nodes import NodeStore

PATIENCE = 120.0
"""Seconds until a condition that never comes fails the test."""
SHARDS = tuple(f"queue/{number}" for number in range(8))
FAILURE_AFTER = 30.0
"""Seconds without a heartbeat until a process counts as dead: longer than a busy machine may stand still."""
QUICK = LeaseTimes(ttl=3.0, margin=0.5, poll=0.2, patience=0.3, rest=0.5)
STEADY = LeaseTimes(ttl=30.0, margin=0.5, poll=0.2, patience=0.3, rest=0.5)
"""Nobody loses a lease because the machine is busy."""
LONG = LeaseTimes(ttl=20 * PATIENCE, poll=10 * PATIENCE, patience=0.3)
"""So long that nothing can change hands by expiry or by polling before a test fails."""


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition` is true; fail with `what` when it never is."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - the conditions are about several processes
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None


class Ear:
    """Collects what one subscription hears."""

    def __init__(self, subscription: AsyncIterator[Received]) -> None:
        self.events: list[Event] = []
        self.gaps: list[Gap] = []
        self._over: frozenset[str] = frozenset()
        self._task = asyncio.create_task(self._collect(subscription))

    async def _collect(self, subscription: AsyncIterator[Received]) -> None:
        async for event in subscription:
            if isinstance(event, Gap):
                self.gaps.append(event)
            elif repr(event) not in self._over:
                self.events.append(event)

    def listen_to_all(self) -> None:
        """Nothing is passed over any more."""
        self._over = frozenset()

    def start_over(self, *over: Event) -> None:
        """Forget what was heard; `over` may still be under way, on a partition that lags behind, and counts no more."""
        self._over = frozenset(map(repr, over))
        self.events.clear()
        self.gaps.clear()

    @property
    def ended(self) -> bool:
        return self._task.done()

    def heard(self, *events: Event) -> bool:
        """Whether all of `events` were heard, each at least as often as it is given."""
        return not Counter(map(repr, events)) - Counter(map(repr, self.events))

    def newest(self) -> dict[AccountId, Modseq]:
        """What a receiver knows that keeps the newest modseq of each account (flows.md B.3)."""
        newest: dict[AccountId, Modseq] = {}
        for event in self.events:
            if isinstance(event, Changed):
                newest[event.account] = max(newest.get(event.account, event.modseq), event.modseq)
        return newest


@dataclass
class Station:
    """One process: its identity and its bus."""

    identity: BusIdentity
    bus: Bus
    owners: list[Owner] = field(default_factory=list)
    keepers: list[LeaseKeeper] = field(default_factory=list)

    async def own(
        self, leases: LeaseStore, keys: Sequence[str], run: Run, *, times: LeaseTimes, family: Topic = Topic.QUEUE
    ) -> Owner:
        """Take part in owning `keys`."""
        keeper = LeaseKeeper(leases, f"{self.identity.member}/{self.identity.boot}", SystemClock(), times)
        await keeper.start()
        owner = Owner(self.bus, keeper, self.identity.node, family, keys, run)
        await owner.start()
        self.keepers.append(keeper)
        self.owners.append(owner)
        return owner

    async def stop(self) -> None:
        for owner in self.owners:
            await owner.stop()
        for keeper in self.keepers:
            await keeper.stop()
        await self.bus.stop()


class Fleet(abc.ABC):
    """Opens the buses of one cluster and closes them."""

    def __init__(self, database: Database, dsn: str) -> None:
        self.database = database
        self.dsn = dsn
        self.leases = LeaseStore(database)
        self.nodes = NodeStore(database, failure_after=FAILURE_AFTER)
        self.stations: list[Station] = []
        self._beating: dict[str, asyncio.Task[None]] = {}

    @abc.abstractmethod
    def settings(self) -> BusSettings:
        """How to reach this cluster's coordinator."""

    def peers(self, boot: str) -> PeerDirectory:
        """The node table as the process `boot` reaches it."""
        return self.nodes.peer_directory(boot)

    # The rest is asked for by BusContract alone.

    def unreachable(self) -> tuple[BusSettings, PeerDirectory | None]:
        """Settings and node table of a coordinator that does not answer, with a short grace time."""
        raise NotImplementedError

    async def inject(self, topic: Topic, *payloads: bytes) -> None:
        """Send raw payloads to all buses, as a process of another version or a faulty one might."""
        raise NotImplementedError

    def sender(self) -> str:
        """The boot id that injected envelopes must show."""
        raise NotImplementedError

    async def station(
        self, node: int, service: str = "smtp-out", near: Sequence[str] = (), *, worker: int = 0
    ) -> Station:
        """Open one more process's bus."""
        identity = BusIdentity(NodeId(node), service, uuid4().hex, worker, tuple(near))
        await self.beat(identity)
        bus = open_bus(self.settings(), identity, self.peers(identity.boot))
        station = Station(identity, bus)
        self.stations.append(station)
        await bus.start()
        return station

    async def beat(self, identity: BusIdentity) -> None:
        """Keep a process in the node table, as its membership would."""
        await self.nodes.claim_node(identity.node, f"node {identity.node}", 60)
        process = await self._row(identity)
        await self.nodes.beat(process, f"node {identity.node}", 60)

        async def beat() -> None:
            while True:
                await asyncio.sleep(0.7)
                await self.nodes.beat(process, f"node {identity.node}", 60)

        self._beating[identity.boot] = asyncio.create_task(beat())

    async def die(self, identity: BusIdentity) -> None:
        """Stop its heartbeats, as a crash does, so long ago that it counts as dead."""
        task = self._beating.pop(identity.boot)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.database.execute(
            "UPDATE process SET seen_at = now() - make_interval(secs => $1) WHERE boot = $2",
            FAILURE_AFTER,
            identity.boot,
        )

    async def _row(self, identity: BusIdentity) -> Process:
        now: Any = await self.database.fetchval("SELECT now()")
        return Process(
            node=identity.node,
            service=identity.service,
            boot=identity.boot,
            hostname="test",
            region="",
            state="ready",
            address={},
            load=0.0,
            started_at=now,
            seen_at=now,
            live=True,
        )

    async def settle(self, *ears: Ear) -> None:
        """Wait until every bus hears every other one on every topic."""
        probes = {station.identity.boot: probes_of(station.identity) for station in self.stations}
        for ear in ears:
            ear.listen_to_all()

        def publish_and_look() -> bool:
            for station in self.stations:
                for probe in probes[station.identity.boot]:
                    station.bus.publish(probe)
            return all(ear.heard(*sum(probes.values(), ())) for ear in ears)

        await until(publish_and_look, "every bus hears every other one")
        await until(lambda: all(station.bus.health().connected for station in self.stations), "all connected")
        # Nearly all that is still under way of the probes arrives before the last words.
        for number, station in enumerate(self.stations):
            for topic_probe in probes_of(station.identity, serial=10_000 + number):
                station.bus.publish(topic_probe)
        last = [probe for n, s in enumerate(self.stations) for probe in probes_of(s.identity, serial=10_000 + n)]
        await until(lambda: all(ear.heard(*last) for ear in ears), "the last probes")
        for ear in ears:
            ear.start_over(*sum(probes.values(), ()), *last)

    async def close(self) -> None:
        await asyncio.gather(*(station.stop() for station in self.stations))
        for task in self._beating.values():
            task.cancel()
        await asyncio.gather(*self._beating.values(), return_exceptions=True)


def probes_of(identity: BusIdentity, serial: int = 1) -> tuple[Event, ...]:
    node = identity.node
    return (
        Changed(AccountId(900_000 + node), Modseq(serial), frozenset()),
        Control(f"probe {node}", {"serial": serial}),
        QueueDue(900_000 + node * 100_000 + serial),
        LeaseNotice(f"role/probe {node}", node, Epoch(serial), held=True),
        NodeNotice(node, f"probe {serial}", "ready"),
    )


def owned_by(stations: Sequence[Station]) -> list[str]:
    """The keys all stations own together, sorted."""
    return sorted(key for station in stations for owner in station.owners for key in owner.owned)


async def idle(_key: str, lease: HeldLease) -> None:
    """A run that works as long as it may."""
    await lease.ending.wait()


WRITE = """
WITH fence AS MATERIALIZED (SELECT key FROM lease WHERE key = $1 AND epoch = $2 FOR SHARE)
INSERT INTO work (key, epoch, pid) SELECT key, $2, $3 FROM fence RETURNING id
"""


def write_under_lease(database: Database, said: Callable[[str], object] = str) -> Run:
    """A run that writes rows under its epoch, as fast as it may, and says what it did."""

    async def run(key: str, lease: HeldLease) -> None:
        said("started")
        try:
            while lease.may_start():
                row = await database.fetchval(WRITE, key, lease.epoch, os.getpid())
                said("wrote" if row else "fenced")
                await asyncio.sleep(0.01)
            await lease.ending.wait()
        finally:
            said("ended")

    return run


@dataclass
class PausedOwner:
    """A process of its own that can be stopped with SIGSTOP, and how often it said what."""

    process: asyncio.subprocess.Process
    said: Counter[str]


@asynccontextmanager
async def paused_owner(fleet: Fleet, node: int) -> AsyncIterator[PausedOwner]:
    """Run `main` below as a child process that owns SHARDS."""
    identity = BusIdentity(NodeId(node), "smtp-out", uuid4().hex)
    await fleet.beat(identity)
    settings = fleet.settings()
    plan = {
        "dsn": fleet.dsn,
        "settings": pickle.dumps(settings).hex(),
        "identity": asdict(identity),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "posthorn_testkit.contracts.owner",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    owner = PausedOwner(process, Counter())
    assert process.stdin is not None
    process.stdin.write(json.dumps(plan).encode() + b"\n")
    reading = asyncio.create_task(_count(process, owner.said))
    try:
        yield owner
    finally:
        process.kill()
        await process.wait()
        await reading


async def _count(process: asyncio.subprocess.Process, said: Counter[str]) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        said[line.decode().strip()] += 1


def plan_settings(plan: Mapping[str, Any]) -> BusSettings:
    """The bus settings of a child process's plan."""
    settings: BusSettings = pickle.loads(bytes.fromhex(plan["settings"]))
    return settings
