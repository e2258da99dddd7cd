"""The network and the coordinator: what gets through, when, and who hears what.

Two ways are cut apart from each other: that of a process to the database, and that to the other processes. What is cut
is lost without a word, in both directions; what is slow arrives later, in any order.
"""

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.simulation.clockwork import VirtualLoop
from tests.simulation.lease_table import LeaseTable

from posthorn_bus.fanout import Fanout, Subscription, Tally
from posthorn_bus.proposals import Proposal
from posthorn_model.errors import Unavailable
from posthorn_model.events import Event, Topic
from posthorn_model.ids import Epoch
from posthorn_model.ports import BusHealth

if TYPE_CHECKING:
    from tests.simulation.world import Process


class Network:
    """Of one simulation. Times are in seconds."""

    def __init__(self, loop: VirtualLoop, chance: random.Random, table: LeaseTable) -> None:
        self._loop = loop
        self._chance = chance
        self._nobody = contextvars.Context()
        self.table = table
        self.slowness = 1.0
        """What delays are multiplied with."""
        self.database_down = False
        self.without_database: set[str] = set()
        """Who cannot reach the database."""
        self.alone: set[str] = set()
        """Whom no event reaches, and from whom none comes."""
        self.sent = 0
        self.delivered = 0

    def delay(self) -> float:
        """Of one way: a millisecond, now and then much more."""
        usual = 0.0005 + self._chance.random() * 0.002
        return self.slowness * (usual if self._chance.random() < 0.98 else self._chance.random())

    def later(self, seconds: float, work: Callable[..., object], *given: object) -> None:
        """Do something that no process does: it happens whether they run or not."""
        self._loop.call_later(seconds, work, *given, context=self._nobody)

    async def ask(self, process: "Process", work: Callable[[], Any]) -> Any:
        """One statement of a process. Nothing comes back when the way is cut on either leg. Raises Unavailable."""
        if self.database_down and self._chance.random() < 0.5:
            await asyncio.sleep(self.delay())
            raise Unavailable("the database does not answer")
        reply: asyncio.Future[Any] = self._loop.create_future()
        if self._reaches(process):
            self.later(self.delay(), self._at_database, process, work, reply)
        return await reply

    def _reaches(self, process: "Process") -> bool:
        return not self.database_down and process.name not in self.without_database

    def _at_database(self, process: "Process", work: Callable[[], Any], reply: "asyncio.Future[Any]") -> None:
        if self.database_down:
            return
        result = work()
        if self._reaches(process):
            self.later(self.delay(), _answer, reply, result)

    def send(self, sender: "Process", event: Event, others: Collection["Process"]) -> None:
        """Broadcast an event; in every hundredth case one of the receivers misses it without being told."""
        self.sent += 1
        if sender.name in self.alone:
            return
        for other in others:
            if other is not sender and self._chance.random() < 0.99:
                self.later(self.delay(), self._arrive, other, event)

    def _arrive(self, receiver: "Process", event: Event) -> None:
        if receiver.name not in self.alone and not receiver.machine.dead:
            self.delivered += 1
            receiver.bus.fanout.deliver(event)


def _answer(reply: "asyncio.Future[Any]", result: Any) -> None:
    if not reply.done():
        reply.set_result(result)


class FarLeases:
    """The port LeaseStore of one process: the table, at the other end of the network."""

    def __init__(self, network: Network, process: "Process") -> None:
        self._network = network
        self._process = process

    async def acquire(self, keys: Collection[str], owner: str, ttl: float) -> Mapping[str, Epoch]:
        wanted = sorted(keys)
        found: Mapping[str, Epoch] = await self._ask(lambda table: table.acquire(wanted, owner, ttl))
        return found

    async def renew(self, held: Mapping[str, Epoch], owner: str, ttl: float) -> Collection[str]:
        mine = dict(held)
        found: Collection[str] = await self._ask(lambda table: table.renew(mine, owner, ttl))
        return found

    async def release(self, held: Mapping[str, Epoch], owner: str) -> None:
        mine = dict(held)
        await self._ask(lambda table: table.release(mine, owner))

    async def holders(self, prefix: str) -> Mapping[str, tuple[str, Epoch, float]]:
        found: Mapping[str, tuple[str, Epoch, float]] = await self._ask(lambda table: table.holders(prefix))
        return found

    async def write(self, key: str, epoch: Epoch, owner: str) -> bool:
        """What a run does under its lease."""
        return bool(await self._ask(lambda table: table.write(key, epoch, owner)))

    async def _ask(self, work: Callable[[LeaseTable], Any]) -> Any:
        return await self._network.ask(self._process, lambda: work(self._network.table))


class SimulatedBus:
    """The port Bus of one process: proposals come from the world, events go over the network."""

    def __init__(self, network: Network, process: "Process", others: Callable[[], Collection["Process"]]) -> None:
        self._network = network
        self._process = process
        self._others = others
        self.fanout = Fanout(Tally())
        self.proposal = Proposal()

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        self.fanout.close()

    def publish(self, event: Event) -> None:
        self.fanout.deliver(event)
        self._network.send(self._process, event, self._others())

    def subscribe(self, *topics: Topic) -> Subscription:
        return self.fanout.subscribe(topics)

    def propose(self, family: Topic, keys: Sequence[str]) -> AsyncIterator[frozenset[str]]:
        return self.proposal

    def health(self) -> BusHealth:
        return BusHealth("simulated", True, "", 0, 0, 0, 0)
