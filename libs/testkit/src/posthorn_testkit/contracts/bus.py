"""The contract of the Bus port and of ownership, for every coordinator.

A test module subclasses BusContract and gives it a fixture `fleet`: buses of one cluster, each as a process of its own
would have it, over the real coordinator and the real lease table.
"""

import abc
import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

from posthorn_bus import BusIdentity, BusSettings, HeldLease, KafkaSettings, LeaseKeeper, LeaseTimes, Owner, open_bus
from posthorn_bus.envelope import Envelope, encode
from posthorn_bus.ownership import Run
from posthorn_model.clock import SystemClock
from posthorn_model.cluster import Process
from posthorn_model.events import (
    Changed,
    ChangeKind,
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

PATIENCE = 60.0
"""Seconds until a condition that never comes fails the test."""
SHARDS = tuple(f"queue/{number}" for number in range(8))
QUICK = LeaseTimes(ttl=3.0, margin=0.5, poll=0.2, patience=0.3, rest=0.5)
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
        self._task = asyncio.create_task(self._collect(subscription))

    async def _collect(self, subscription: AsyncIterator[Received]) -> None:
        async for event in subscription:
            if isinstance(event, Gap):
                self.gaps.append(event)
            else:
                self.events.append(event)

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
        self.nodes = NodeStore(database, failure_after=3.0)
        self.stations: list[Station] = []
        self._beating: dict[str, asyncio.Task[None]] = {}

    @abc.abstractmethod
    def settings(self) -> BusSettings:
        """How to reach this cluster's coordinator."""

    @abc.abstractmethod
    def unreachable(self) -> tuple[BusSettings, PeerDirectory | None]:
        """Settings and node table of a coordinator that does not answer, with a short grace time."""

    @abc.abstractmethod
    async def inject(self, topic: Topic, *payloads: bytes) -> None:
        """Send raw payloads to all buses, as a process of another version or a faulty one might."""

    @abc.abstractmethod
    def sender(self) -> str:
        """The boot id that injected envelopes must show."""

    async def station(self, node: int, service: str = "smtp-out") -> Station:
        """Open one more process's bus."""
        identity = BusIdentity(NodeId(node), service, uuid4().hex)
        await self.beat(identity)
        bus = open_bus(self.settings(), identity, self.nodes.peer_directory(identity.boot))
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
        """Stop its heartbeats, as a crash does."""
        task = self._beating.pop(identity.boot)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

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
        probes = {station.identity.boot: _probes(station.identity) for station in self.stations}

        def publish_and_look() -> bool:
            for station in self.stations:
                for probe in probes[station.identity.boot]:
                    station.bus.publish(probe)
            return all(ear.heard(*sum(probes.values(), ())) for ear in ears)

        await until(publish_and_look, "every bus hears every other one")
        await until(lambda: all(station.bus.health().connected for station in self.stations), "all connected")
        # What is still under way of the probes arrives before the last words, or is counted as missed.
        for number, station in enumerate(self.stations):
            for topic_probe in _probes(station.identity, serial=10_000 + number):
                station.bus.publish(topic_probe)
        last = [probe for n, s in enumerate(self.stations) for probe in _probes(s.identity, serial=10_000 + n)]
        await until(lambda: all(ear.heard(*last) for ear in ears), "the last probes")
        for ear in ears:
            ear.events.clear()
            ear.gaps.clear()

    async def close(self) -> None:
        await asyncio.gather(*(station.stop() for station in self.stations))
        for task in self._beating.values():
            task.cancel()
        await asyncio.gather(*self._beating.values(), return_exceptions=True)


def _probes(identity: BusIdentity, serial: int = 1) -> tuple[Event, ...]:
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


class BusContract:
    """What every bus must do."""

    async def test_an_event_reaches_every_process_once(self, fleet: Fleet) -> None:
        stations = [await fleet.station(node) for node in (1, 2, 3)]
        ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
        await fleet.settle(*ears)
        sent: list[Event] = [
            Changed(AccountId(7), Modseq(42), frozenset({ChangeKind.EMAIL})),
            Control("invalidate-directory", {"domain": "example.org", "list": [1, None, "ä"]}),
            QueueDue(5),
            LeaseNotice("queue/5", NodeId(1), Epoch(3), held=True),
            LeaseNotice("role/purge.stores", NodeId(1), Epoch(3), held=False),
            NodeNotice(NodeId(1), "imap", "draining", 0.5),
        ]
        for event in sent:
            stations[0].bus.publish(event)
        # One after the other per topic: when these are there, whatever came twice would be there too.
        end = _probes(stations[0].identity, serial=77)
        for event in end:
            stations[0].bus.publish(event)
        for ear in ears:
            await until(lambda ear=ear: ear.heard(*sent, *end), "every process hears every event")  # type: ignore[misc]
            assert sorted(map(repr, ear.events)) == sorted(map(repr, [*sent, *end]))
            assert ear.gaps == []

    async def test_own_events_are_heard_without_the_coordinator(self, fleet: Fleet) -> None:
        settings, peers = fleet.unreachable()
        bus = open_bus(settings, BusIdentity(NodeId(1), "imap", uuid4().hex), peers)
        subscription = bus.subscribe(Topic.QUEUE)
        bus.publish(QueueDue(1))
        await bus.start()
        bus.publish(QueueDue(2))
        assert [await anext(subscription), await anext(subscription)] == [QueueDue(1), QueueDue(2)]
        assert not bus.health().connected
        await bus.stop()
        assert [event async for event in subscription] == []

    async def test_without_the_coordinator_every_key_is_proposed(self, fleet: Fleet) -> None:
        settings, peers = fleet.unreachable()
        bus = open_bus(settings, BusIdentity(NodeId(1), "smtp-out", uuid4().hex), peers)
        await bus.start()
        async with asyncio.timeout(PATIENCE):
            async for proposed in bus.propose(Topic.QUEUE, SHARDS):
                if proposed:
                    break
        assert proposed == frozenset(SHARDS)
        await bus.stop()

    async def test_many_changes_of_an_account_end_with_the_newest(self, fleet: Fleet) -> None:
        one, two = [await fleet.station(node) for node in (1, 2)]
        every, ear = [Ear(station.bus.subscribe(*Topic)) for station in (one, two)]
        await fleet.settle(every, ear)
        numbers = list(range(1, 301))
        random.Random(5).shuffle(numbers)
        kinds = list(ChangeKind)
        for number in numbers:
            one.bus.publish(Changed(AccountId(7), Modseq(number), frozenset({kinds[number % len(kinds)]})))
        await until(lambda: ear.newest().get(AccountId(7)) == 300, "the newest modseq arrives")
        heard = [event for event in ear.events if isinstance(event, Changed) and event.account == 7]
        assert frozenset().union(*(event.kinds for event in heard)) == frozenset(kinds)
        assert len(heard) < len(numbers)
        assert sum(isinstance(event, Changed) and event.account == 7 for event in every.events) == 300

    async def test_repeated_reordered_and_unreadable_events_are_harmless(self, fleet: Fleet) -> None:
        stations = [await fleet.station(node) for node in (1, 2)]
        ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
        await fleet.settle(*ears)
        skipped = [station.bus.health().skipped for station in stations]

        def envelope(serial: int, account: int, modseq: int) -> bytes:
            event = Changed(AccountId(account), Modseq(modseq), frozenset({ChangeKind.EMAIL}))
            return encode(Envelope(event, serial, NodeId(9), fleet.sender()))

        first, second, third = envelope(1, 12, 1), envelope(2, 12, 2), envelope(3, 12, 3)
        newer = json.dumps({**json.loads(third), "v": 99}).encode()
        stranger = json.dumps({**json.loads(third), "t": "teleported"}).encode()
        await fleet.inject(
            Topic.CHANGES, third, first, b"\x00noise", newer, third, b"", second, stranger, third, envelope(4, 24, 8)
        )
        for ear in ears:
            await until(lambda ear=ear: ear.newest().get(AccountId(24)) == 8, "what follows is heard")  # type: ignore[misc]
            assert ear.newest()[AccountId(12)] == 3
        assert [station.bus.health().skipped for station in stations] == [number + 4 for number in skipped]

    async def test_keys_are_shared_out_and_follow_those_who_come_and_go(self, fleet: Fleet) -> None:
        stations = [await fleet.station(node) for node in (1, 2)]
        shares: dict[int, frozenset[str]] = {}

        async def take_part(station: Station) -> None:
            async for proposed in station.bus.propose(Topic.QUEUE, SHARDS):
                shares[station.identity.node] = proposed

        def is_shared(*nodes: int) -> bool:
            parts = [shares.get(NodeId(node), frozenset()) for node in nodes]
            return sorted(key for part in parts for key in part) == sorted(SHARDS) and all(parts)

        tasks = [asyncio.create_task(take_part(station)) for station in stations]
        await until(lambda: is_shared(1, 2), "two share all keys")
        tasks.append(asyncio.create_task(take_part(await fleet.station(3))))
        await until(lambda: is_shared(1, 2, 3), "three share all keys")
        assert max(map(len, shares.values())) <= 3
        tasks[1].cancel()
        await until(lambda: is_shared(1, 3), "the others take over from who left")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test_a_role_is_proposed_to_eligible_nodes_only(self, fleet: Fleet) -> None:
        eligible = {1: ["role/acme.renew"], 2: ["role/acme.renew", "role/purge.stores"], 3: []}
        stations = [await fleet.station(node, "maintenance") for node in eligible]
        runs = Counter[str]()

        async def run(key: str, lease: HeldLease) -> None:
            runs[key] += 1
            await lease.ending.wait()

        for station in stations:
            keys = eligible[station.identity.node]
            await station.own(fleet.leases, keys, run, times=QUICK, family=Topic.ROLES)
        await until(lambda: owned_by(stations) == ["role/acme.renew", "role/purge.stores"], "both roles are held")
        assert "role/purge.stores" in stations[1].owners[0].owned
        assert not stations[2].owners[0].owned
        await stations[1].stop()
        fleet.stations.remove(stations[1])
        await until(lambda: owned_by(stations[:1]) == ["role/acme.renew"], "the role moves to the other eligible node")
        assert runs["role/purge.stores"] == 1

    async def test_who_leaves_hands_over_at_once(self, fleet: Fleet) -> None:
        stations = [await fleet.station(node) for node in (1, 2, 3)]
        ended: list[str] = []

        async def run(key: str, lease: HeldLease) -> None:
            assert lease.may_start()
            await lease.ending.wait()
            assert not lease.may_start()
            ended.append(key)

        for station in stations:
            await station.own(fleet.leases, SHARDS, run, times=QUICK)
        await until(lambda: owned_by(stations) == sorted(SHARDS) and all(s.owners[0].owned for s in stations), "shared")
        # From here on nothing may be needed to expire.
        leaving = stations.pop()
        before, keys = await fleet.leases.holders("queue/"), list(leaving.owners[0].owned)
        ended.clear()
        fleet.stations.remove(leaving)
        await leaving.stop()
        assert keys
        assert set(keys) <= set(ended)
        await until(lambda: owned_by(stations) == sorted(SHARDS), "the others own everything")
        after = await fleet.leases.holders("queue/")
        assert all(after[key][1] == before[key][1] + 1 for key in keys)

    async def test_a_hand_over_needs_neither_expiry_nor_polling(self, fleet: Fleet) -> None:
        leaving = await fleet.station(1)
        await leaving.own(fleet.leases, SHARDS, idle, times=LONG)
        await until(lambda: owned_by([leaving]) == sorted(SHARDS), "the first owns everything")
        other = await fleet.station(2)
        await other.own(fleet.leases, SHARDS, idle, times=LONG)
        await until(lambda: bool(other.owners[0].owned), "keys move to who came")
        await until(lambda: owned_by([leaving, other]) == sorted(SHARDS), "every key is owned again")
        fleet.stations.remove(leaving)
        await leaving.stop()
        await until(lambda: owned_by([other]) == sorted(SHARDS), "the rest moves")

    async def test_a_paused_owner_loses_its_leases_and_changes_nothing_later(self, fleet: Fleet) -> None:
        await fleet.database.execute(
            "CREATE TABLE work (id bigserial PRIMARY KEY, key text NOT NULL, epoch bigint NOT NULL, pid int NOT NULL)"
        )
        async with paused_owner(fleet, node=1) as owner:
            await until(lambda: owner.said["started"] == len(SHARDS), "the process owns everything and works")
            await until(lambda: owner.said["wrote"] > 20, "the process writes under its leases")
            os.kill(owner.process.pid, signal.SIGSTOP)
            survivor = await fleet.station(2)
            await survivor.own(fleet.leases, SHARDS, write_under_lease(fleet.database), times=QUICK)
            await until(lambda: owned_by([survivor]) == sorted(SHARDS), "another process takes everything over")
            taken = {key: epoch for key, (_, epoch, _) in (await fleet.leases.holders("queue/")).items()}
            first = await fleet.database.fetchval("SELECT max(id) FROM work")
            os.kill(owner.process.pid, signal.SIGCONT)
            await until(lambda: owner.said["ended"] >= len(SHARDS), "its runs have ended")
            rows = await fleet.database.fetch("SELECT key, epoch FROM work WHERE id > $1", first)
            assert all(row["epoch"] >= taken[row["key"]] for row in rows)
        order = await fleet.database.fetch("SELECT key, epoch FROM work ORDER BY id")
        for key in SHARDS:
            epochs = [row["epoch"] for row in order if row["key"] == key]
            assert epochs == sorted(epochs), "an older epoch wrote after a newer one"


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
        "kind": "kafka" if isinstance(settings, KafkaSettings) else "peer",
        "settings": asdict(settings),
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
    from posthorn_bus import PeerSettings

    fields = dict(plan["settings"])
    if plan["kind"] == "peer":
        return PeerSettings(**fields)
    return KafkaSettings(**{**fields, "servers": tuple(fields["servers"])})
