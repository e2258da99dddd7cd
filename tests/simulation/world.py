"""A cluster on a virtual clock: a thousand members, of which those that may own something run the product's own code.

What is the product's: LeaseKeeper, Owner, election, share, Proposal, Fanout. What is not: the network, the lease table
(which passes the contract of the real one), and membership. A member that was never proposed a key is a name in the
node table that takes part in the sharing; it runs from the moment on when it is proposed one. Some run from the
beginning, or all of them (`everybody`). Heartbeats are not sent one by one: who cannot reach the database disappears
from the node table after FAILURE_AFTER, and each running process reads the table at some time within REFRESH after it
changed.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.simulation.clockwork import Machine, MachineClock, VirtualLoop
from tests.simulation.lease_table import LeaseTable
from tests.simulation.network import FarLeases, Network, SimulatedBus

from posthorn_bus import HeldLease, LeaseKeeper, LeaseTimes, Owner, election, eligible_keys
from posthorn_bus.sharing import share
from posthorn_model.errors import PosthornError
from posthorn_model.events import Topic
from posthorn_model.ids import NodeId

TIMES = LeaseTimes(ttl=6.0, margin=1.2, poll=1.0, patience=0.6, rest=3.0)
SHORT = LeaseTimes.of(3.0)
"""The shortest that the settings allow."""
FAILURE_AFTER = 6.0
REFRESH = 2.0
STANDBYS = 6
SHARDS = tuple(f"queue/{number}" for number in range(16))
ROLES: Mapping[str, list[int] | list[list[int]]] = {
    "purge.stores": [],
    "purge.accounts": [[1, 3, 5, 7, 9], [11, 13, 15, 17, 19]],
    "metrics.calculate": [1, 3, 5],
    "acme.renew": [3, 9, 15],
}
"""Odd nodes run maintenance, even ones smtp-out."""


@dataclass(eq=False)
class Process:
    """One life of one member."""

    name: str
    node: NodeId
    boot: str
    machine: Machine
    bus: SimulatedBus = field(init=False)
    leases: FarLeases = field(init=False)
    keeper: LeaseKeeper = field(init=False)
    owner: Owner = field(init=False)


class World:
    """One simulation; the same seed gives the same, step by step."""

    def __init__(
        self,
        seed: int,
        nodes: int,
        *,
        everybody: bool = False,
        table: LeaseTable | None = None,
        times: LeaseTimes = TIMES,
    ) -> None:
        self.times = times
        self.chance = random.Random(seed)
        self.loop = VirtualLoop()
        self.table = table or LeaseTable(lambda: self.loop.now)
        self.table.now = lambda: self.loop.now
        self.network = Network(self.loop, self.chance, self.table)
        self.names = {f"node-{number}": NodeId(number) for number in range(1, nodes + 1)}
        self.listed = dict.fromkeys(self.names, True)
        """Whom the node table shows as live."""
        self.processes: dict[str, Process] = {}
        self.lives = 0
        self._shares: dict[Topic, Mapping[str, frozenset[str]]] = {}
        self._takes = {name: self._keys_of(node) for name, node in self.names.items()}
        self._share_anew()
        first = list(self.names) if everybody else self.chance.sample(list(self.names), min(STANDBYS, nodes))
        for name in first:
            self._run(name)
        self._follow_shares()

    # Members

    def crash(self, name: str) -> None:
        """Its process is gone; the table shows it until its heartbeat is too old."""
        process = self.processes.pop(name, None)
        if process is not None:
            process.machine.kill()
        self.miss(name)

    def come_back(self, name: str) -> None:
        """A new process of the same member."""
        self._run(name)
        self.seen(name)

    def miss(self, name: str) -> None:
        """No heartbeat arrives from now on."""
        process = self.processes.get(name)
        self.network.later(FAILURE_AFTER, self._unlist, name, process)

    def seen(self, name: str) -> None:
        """Heartbeats arrive again."""
        if not self.listed[name]:
            self.listed[name] = True
            self._changed()

    def is_cut_off(self, name: str) -> bool:
        """Whether its heartbeats do not arrive at this moment."""
        process = self.processes.get(name)
        silent = process is None or process.machine.stopped
        return silent or name in self.network.without_database

    def propose_everything(self) -> None:
        """The coordinator is lost: every process is proposed all it may have, and leases alone decide."""
        for name, process in self.processes.items():
            process.bus.proposal.put(frozenset(self._takes[name]))

    def read_again(self) -> None:
        """Every process reads the table at some time soon, and may have missed events."""
        for process in list(self.processes.values()):
            self.network.later(self.chance.random() * REFRESH, self._read_table, process)
            for topic in (Topic.QUEUE, Topic.ROLES):
                process.bus.fanout.gap(topic, "reconnected")

    def owners(self) -> dict[str, list[Process]]:
        """Who believes at this moment that it owns a key."""
        found: dict[str, list[Process]] = {key: [] for key in self.keys()}
        for process in self.processes.values():
            for key in process.owner.owned:
                found[key].append(process)
        return found

    def keys(self) -> tuple[str, ...]:
        """All keys somebody of this cluster may own."""
        return tuple(sorted({key for keys in self._takes.values() for key in keys}))

    def proposed(self) -> dict[str, str]:
        """To whom each key is proposed, by the node table."""
        return {key: name for shares in self._shares.values() for name, keys in shares.items() for key in keys}

    def is_proposed_all(self, name: str) -> bool:
        """Whether a member is proposed every key it may have."""
        return any(shares.get(name) == frozenset(self._takes[name]) for shares in self._shares.values())

    # Inside

    def _keys_of(self, node: NodeId) -> tuple[str, ...]:
        return eligible_keys(ROLES, node) if node % 2 else SHARDS

    def _run(self, name: str) -> None:
        self.lives += 1
        node = self.names[name]
        process = Process(name, node, f"{name}/{self.lives}", Machine(self.loop))
        clock = MachineClock(
            self.loop, ahead=self.chance.random() * 7200, rate=1 + self.chance.uniform(-0.0005, 0.0005)
        )
        process.leases = FarLeases(self.network, process)
        process.bus = SimulatedBus(self.network, process, self.processes.values)
        process.keeper = LeaseKeeper(process.leases, process.boot, clock, self.times)

        async def run(key: str, lease: HeldLease) -> None:
            await self._work(process, key, lease)

        if node % 2:
            process.owner = election(process.bus, process.keeper, node, ROLES, run)
        else:
            process.owner = Owner(process.bus, process.keeper, node, Topic.QUEUE, SHARDS, run)
        self.processes[name] = process
        process.machine.start(self._live(process), name)

    async def _live(self, process: Process) -> None:
        self._read_table(process)
        await process.keeper.start()
        await process.owner.start()

    async def _work(self, process: Process, key: str, lease: HeldLease) -> None:
        """Write as often as the lease allows; each write is decided before it is sent, so it may come late."""
        while lease.may_start():
            await asyncio.sleep(self.chance.expovariate(1.0))
            try:
                await process.leases.write(key, lease.epoch, process.boot)
            except PosthornError:
                continue
        await lease.ending.wait()

    def _unlist(self, name: str, process: Process | None) -> None:
        same = self.processes.get(name) is process
        if same and self.is_cut_off(name) and self.listed[name]:
            self.listed[name] = False
            self._changed()

    def _changed(self) -> None:
        self._share_anew()
        self._follow_shares()
        for process in list(self.processes.values()):
            self.network.later(self.chance.random() * REFRESH, self._read_table, process)

    def _share_anew(self) -> None:
        for family, odd in ((Topic.QUEUE, 0), (Topic.ROLES, 1)):
            members = {
                name: self._takes[name] for name, node in self.names.items() if self.listed[name] and node % 2 == odd
            }
            self._shares[family] = share(members)

    def _follow_shares(self) -> None:
        """Who is proposed a key runs."""
        for shares in self._shares.values():
            for name, keys in shares.items():
                if keys and name not in self.processes:
                    self._run(name)

    def _read_table(self, process: Process) -> None:
        if process.machine.dead or process.name in self.network.without_database or self.network.database_down:
            return  # it goes by what it knew
        family = Topic.ROLES if process.node % 2 else Topic.QUEUE
        process.bus.proposal.put(self._shares[family].get(process.name, frozenset()))
