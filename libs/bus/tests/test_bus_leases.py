"""Leases and ownership over the real lease table, with a bus that only proposes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence

import pytest

from posthorn_bus import HeldLease, LeaseKeeper, LeaseTimes, Owner
from posthorn_bus.fanout import Fanout, Subscription, Tally
from posthorn_bus.proposals import Proposal
from posthorn_model.clock import SystemClock
from posthorn_model.errors import Unavailable
from posthorn_model.events import Event, LeaseAsked, LeaseNotice, Topic
from posthorn_model.ids import Epoch, NodeId
from posthorn_model.ports import BusHealth
from posthorn_storage.database import Database
from posthorn_storage.leases import LeaseStore
from posthorn_testkit.contracts.fleet import until

pytestmark = pytest.mark.postgres

TIMES = LeaseTimes(ttl=15.0, margin=0.5, poll=0.1, patience=0.2, rest=0.3)
"""So long that no lease is lost because the machine is busy."""
STEAL = "UPDATE lease SET owner = 'thief', epoch = epoch + 1, until = now() + interval '1 hour' WHERE key = $1"


@pytest.fixture
async def database(postgres_dsn: str) -> AsyncIterator[Database]:
    database = await Database.open(postgres_dsn)
    yield database
    await database.close()


@pytest.fixture
def leases(database: Database) -> LeaseStore:
    return LeaseStore(database)


class HandClock:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


class Troubled:
    """The real lease store on a bad line: slow by the hand clock's time, or silent when told so."""

    def __init__(self, store: LeaseStore, clock: HandClock | None = None, delay: float = 0.0) -> None:
        self.store = store
        self.clock = clock
        self.delay = delay
        self.silent = False
        self.asked = 0
        """How many of the statements that bring an owner new leases are under way."""

    async def _line(self) -> None:
        if self.silent:
            raise Unavailable
        if self.clock:
            self.clock.now += self.delay

    async def acquire(self, keys: Collection[str], owner: str, ttl: float) -> Mapping[str, Epoch]:
        await self._line()
        with self._asking():
            return await self.store.acquire(keys, owner, ttl)

    async def renew(self, held: Mapping[str, Epoch], owner: str, ttl: float) -> Collection[str]:
        await self._line()
        return await self.store.renew(held, owner, ttl)

    async def release(self, held: Mapping[str, Epoch], owner: str) -> None:
        await self._line()
        await self.store.release(held, owner)

    async def holders(self, prefix: str) -> Mapping[str, tuple[str, Epoch, float]]:
        await self._line()
        with self._asking():
            return await self.store.holders(prefix)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        self.asked += 1
        try:
            yield
        finally:
            self.asked -= 1


class Proposer:
    """A bus inside this process: proposals are put in by the test."""

    def __init__(self, *first: str) -> None:
        self.proposal = Proposal(frozenset(first))
        self.fanout = Fanout(Tally())
        self.published: list[Event] = []

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        self.fanout.close()

    def publish(self, event: Event) -> None:
        self.published.append(event)
        self.fanout.deliver(event)

    def subscribe(self, *topics: Topic) -> Subscription:
        return self.fanout.subscribe(topics)

    def propose(self, family: Topic, keys: Sequence[str]) -> AsyncIterator[frozenset[str]]:
        return self.proposal

    def health(self) -> BusHealth:
        return BusHealth("test", True, "", 0, 0, 0, 0)


async def idle(_key: str, lease: HeldLease) -> None:
    await lease.ending.wait()


async def test_the_deadline_counts_from_before_the_statement_was_sent(leases: LeaseStore) -> None:
    clock = HandClock()
    keeper = LeaseKeeper(Troubled(leases, clock, delay=1.0), "me", clock, TIMES)
    (lease,) = await keeper.acquire(["queue/1"])
    assert lease.deadline == 1000.0 + TIMES.ttl
    assert lease.snapshot().epoch == lease.epoch == 1
    clock.now = 1000.0 + TIMES.ttl - TIMES.margin - 0.01
    assert lease.may_start()
    clock.now = 1000.0 + TIMES.ttl - TIMES.margin
    assert not lease.may_start()
    assert lease.is_valid()
    clock.now = 1000.0 + TIMES.ttl
    assert not lease.is_valid()
    await keeper.stop()


async def test_a_held_key_is_not_asked_for_again_and_a_free_one_is_taken(leases: LeaseStore) -> None:
    mine = LeaseKeeper(leases, "me", SystemClock(), TIMES)
    other = LeaseKeeper(leases, "other", SystemClock(), TIMES)
    taken = await mine.acquire(["queue/1", "queue/2"])
    assert sorted(lease.key for lease in taken) == ["queue/1", "queue/2"]
    assert await mine.acquire(["queue/1"]) == ()
    assert await other.acquire(["queue/1"]) == []
    await mine.release(taken)
    assert not any(lease.may_start() for lease in taken)
    (fresh,) = await other.acquire(["queue/1"])
    assert fresh.epoch == 2
    await other.stop()
    assert not (await leases.holders("queue/"))["queue/1"][2]


async def test_leases_are_renewed_until_somebody_else_has_them(database: Database, leases: LeaseStore) -> None:
    keeper = LeaseKeeper(leases, "me", SystemClock(), TIMES)
    await keeper.start()
    kept, stolen = sorted(await keeper.acquire(["queue/1", "queue/2"]), key=lambda lease: lease.key)
    first = kept.deadline
    await database.execute(STEAL, "queue/2")
    await until(stolen.gone.is_set, "the stolen lease is lost")
    await until(lambda: kept.deadline > first + TIMES.ttl, "the other is renewed again and again")
    assert kept.is_valid()
    assert not stolen.may_start()
    await keeper.stop()
    owner, epoch, seconds = (await leases.holders("queue/"))["queue/2"]
    assert (owner, epoch) == ("thief", 2)
    assert seconds > 3000


async def test_without_the_database_a_lease_is_lost_at_its_deadline(leases: LeaseStore) -> None:
    line = Troubled(leases)
    keeper = LeaseKeeper(line, "me", SystemClock(), TIMES)
    await keeper.start()
    (lease,) = await keeper.acquire(["queue/1"])
    line.silent = True
    assert await keeper.acquire(["queue/2"]) == ()
    await until(lease.gone.is_set, "lost without an answer")
    assert SystemClock().monotonic() >= lease.deadline
    line.silent = False
    (again,) = await keeper.acquire(["queue/1"])
    assert again.is_valid()
    await keeper.stop()


async def test_a_margin_must_leave_time_to_work() -> None:
    with pytest.raises(ValueError, match="margin"):
        LeaseTimes(ttl=3.0, margin=2.0)


def test_who_has_short_leases_looks_more_often_for_what_is_free() -> None:
    assert (LeaseTimes.of(8.0).poll, LeaseTimes.of(60.0).poll, LeaseTimes.of(4.0, patience=2.0)) == (
        1.0,
        1.0,
        LeaseTimes(ttl=4.0, margin=1.0, poll=0.5, patience=2.0),
    )


def test_of_a_short_lease_a_quarter_is_left_to_end_what_was_started() -> None:
    assert [LeaseTimes.of(ttl).margin for ttl in (3.0, 4.0, 8.0, 60.0)] == [0.75, 1.0, 2.0, 2.0]
    assert LeaseTimes.of(8.0) == LeaseTimes()


async def test_keys_that_are_not_proposed_any_more_are_handed_over(leases: LeaseStore) -> None:
    bus = Proposer("queue/1", "queue/2", "weather/1")
    keeper = LeaseKeeper(leases, "me", SystemClock(), TIMES)
    await keeper.start()
    owner = Owner(bus, keeper, NodeId(1), Topic.QUEUE, ["queue/1", "queue/2", "queue/3"], idle)
    await owner.start()
    await until(lambda: owner.owned == {"queue/1": 1, "queue/2": 1}, "what is proposed is owned")
    bus.proposal.put(frozenset({"queue/2", "queue/3"}))
    await until(lambda: owner.owned == {"queue/2": 1, "queue/3": 1}, "it follows the proposal")
    assert LeaseNotice("queue/1", NodeId(1), Epoch(1), held=False) in bus.published
    await until(lambda: LeaseNotice("queue/3", NodeId(1), Epoch(1), held=True) in bus.published, "the taking is told")
    await owner.stop()
    await keeper.stop()
    assert owner.owned == {}
    assert not any(live for _, _, live in (await leases.holders("queue/")).values())


async def test_a_run_that_fails_gives_its_key_to_others_and_is_tried_again(leases: LeaseStore) -> None:
    bus = Proposer("queue/1")
    keeper = LeaseKeeper(leases, "me", SystemClock(), TIMES)
    epochs: list[int] = []

    async def run(_key: str, lease: HeldLease) -> None:
        epochs.append(lease.epoch)
        if len(epochs) == 1:
            raise RuntimeError("broken")
        await lease.ending.wait()

    owner = Owner(bus, keeper, NodeId(1), Topic.QUEUE, ["queue/1"], run)
    await owner.start()
    await until(lambda: owner.owned and len(epochs) == 2, "it runs again")
    assert epochs == [1, 2]
    await owner.stop()
    await keeper.stop()


async def test_there_are_never_two_runs_of_one_key_in_a_process(database: Database, leases: LeaseStore) -> None:
    bus = Proposer("queue/1")
    keeper = LeaseKeeper(leases, "me", SystemClock(), TIMES)
    await keeper.start()
    running: list[int] = []
    most: list[int] = []
    let_go = asyncio.Event()

    async def run(_key: str, lease: HeldLease) -> None:
        running.append(lease.epoch)
        most.append(len(running))
        try:
            await asyncio.Event().wait()
        finally:
            if lease.epoch == 1:
                await let_go.wait()
            running.remove(lease.epoch)

    owner = Owner(bus, keeper, NodeId(1), Topic.QUEUE, ["queue/1"], run)
    await owner.start()
    await until(lambda: running == [1], "it runs")
    await database.execute(STEAL, "queue/1")
    await until(lambda: not owner.owned, "the lease is lost")
    await database.execute("UPDATE lease SET until = now()")
    bus.fanout.deliver(LeaseNotice("queue/1", NodeId(2), Epoch(2), held=False))
    await keeper.acquire(["queue/2"])
    assert running == [1]
    let_go.set()
    await until(lambda: running == [3], "the next run starts when the first has ended")
    assert most == [1, 1]
    await owner.stop()
    await keeper.stop()


async def test_a_key_nobody_holds_is_adopted_whoever_it_is_proposed_to(leases: LeaseStore) -> None:
    bus = Proposer("queue/1")
    keeper = LeaseKeeper(leases, "me", SystemClock(), TIMES)
    await keeper.start()
    other = LeaseKeeper(leases, "other", SystemClock(), TIMES)
    await other.start()
    await other.acquire(["queue/3"])
    owner = Owner(bus, keeper, NodeId(1), Topic.QUEUE, ["queue/1", "queue/2", "queue/3"], idle)
    await owner.start()
    await until(lambda: "queue/2" in owner.owned, "the orphan is adopted")
    assert owner.owned.keys() == {"queue/1", "queue/2"}
    await owner.stop()
    await keeper.stop()
    await other.stop()


async def test_what_was_adopted_is_handed_over_when_whom_it_is_proposed_to_asks(leases: LeaseStore) -> None:
    """A process that came back is proposed what it had: for those who adopted it there is no new proposal."""
    buses = Proposer("queue/1"), Proposer("queue/2", "queue/3")
    keepers = [LeaseKeeper(leases, name, SystemClock(), TIMES) for name in ("stayed", "came back")]
    for keeper in keepers:
        await keeper.start()
    keys = ["queue/1", "queue/2", "queue/3", "queue/4"]
    stayed, back = (
        Owner(bus, keeper, NodeId(node), Topic.QUEUE, keys, idle)
        for node, (bus, keeper) in enumerate(zip(buses, keepers, strict=True), 1)
    )
    await stayed.start()
    await until(lambda: stayed.owned.keys() == set(keys), "it adopts what nobody holds")
    # What it is proposed, or nobody asks for, it keeps.
    for bus in buses:
        bus.fanout.deliver(LeaseAsked("queue/1", NodeId(2)))
    await back.start()

    def hand_on() -> bool:
        told, buses[1].published = buses[1].published, []
        for event in told:
            buses[0].fanout.deliver(event)
        return back.owned.keys() == {"queue/2", "queue/3"}

    await until(hand_on, "it is given what it asks for")
    await until(lambda: stayed.owned == {"queue/1": 1, "queue/4": 1}, "the other keeps the rest")
    for owner, keeper in zip((stayed, back), keepers, strict=True):
        await owner.stop()
        await keeper.stop()


async def test_who_leaves_takes_nothing_and_keeps_what_it_has_until_it_stops(leases: LeaseStore) -> None:
    bus = Proposer("queue/1", "queue/2")
    other = LeaseKeeper(leases, "other", SystemClock(), TIMES)
    held = await other.acquire(["queue/2"])
    line = Troubled(leases)
    keeper = LeaseKeeper(line, "me", SystemClock(), TIMES)
    await keeper.start()
    owner = Owner(bus, keeper, NodeId(1), Topic.QUEUE, ["queue/1", "queue/2"], idle)
    await owner.start()
    await until(lambda: owner.owned.keys() == {"queue/1"}, "it has the one that is free")
    owner.leave()
    await until(lambda: not line.asked, "what it had asked for is answered")
    await other.release(held)
    bus.publish(LeaseNotice("queue/2", NodeId(2), held[0].epoch, held=False))
    taken = await other.acquire(["queue/1", "queue/2"])
    assert [lease.key for lease in taken] == ["queue/2"]
    await owner.stop()
    assert [lease.key for lease in await other.acquire(["queue/1"])] == ["queue/1"]
    await keeper.stop()
    await other.stop()


async def test_without_keys_nothing_is_proposed_or_owned(leases: LeaseStore) -> None:
    before = await leases.holders("")
    owner = Owner(Proposer("queue/1"), LeaseKeeper(leases, "me", SystemClock()), NodeId(1), Topic.ROLES, [], idle)
    await owner.start()
    await owner.stop()
    assert owner.owned == {}
    assert await leases.holders("") == before


async def owning(leases: LeaseStore, bus: Proposer, node: int, times: LeaseTimes = TIMES) -> tuple[Owner, LeaseKeeper]:
    """An owner of one role that contends for what others give back."""
    keeper = LeaseKeeper(leases, f"node {node}", SystemClock(), times)
    await keeper.start()
    owner = Owner(bus, keeper, NodeId(node), Topic.ROLES, ["role/x"], idle, contend=0.05)
    await owner.start()
    return owner, keeper


async def test_who_stands_by_takes_at_once_what_was_given_back(leases: LeaseStore) -> None:
    """Nobody is proposed the key, and nothing is polled: the notice alone brings the next holder."""
    bus, slow = Proposer(), LeaseTimes(ttl=600.0, poll=300.0, patience=0.2)
    standby, keeper = await owning(leases, bus, 2, slow)
    other = LeaseKeeper(leases, "node 1", SystemClock(), slow)
    held = await other.acquire(["role/x"])
    await asyncio.sleep(0)
    bus.publish(LeaseNotice("role/x", NodeId(1), held[0].epoch, held=True))
    await other.release(held)
    while not standby.owned:
        bus.publish(LeaseNotice("role/x", NodeId(1), held[0].epoch, held=False))
        await asyncio.sleep(0.1)
    assert standby.owned == {"role/x": 2}
    await standby.stop()
    await keeper.stop()


async def test_a_wish_moves_a_key_and_keeps_it_there(leases: LeaseStore) -> None:
    first_bus, second_bus = Proposer("role/x"), Proposer()
    first, first_keeper = await owning(leases, first_bus, 1)
    second, second_keeper = await owning(leases, second_bus, 2)
    await until(lambda: first.owned, "the proposed one holds it")
    for owner in (first, second):
        owner.wish({"role/x": NodeId(2)})
    await until(lambda: second.owned and not first.owned, "it moved")
    # What the first gave back tempts it not, and a new proposal changes nothing.
    first_bus.proposal.put(frozenset())
    first_bus.proposal.put(frozenset({"role/x"}))
    first_bus.publish(LeaseNotice("role/x", NodeId(3), Epoch(1), held=False))
    await until(lambda: first_bus.published.count(LeaseNotice("role/x", NodeId(1), Epoch(1), held=False)) == 1, "told")
    assert not first.owned
    for owner in (first, second):
        owner.wish({})
    await until(lambda: first.owned and not second.owned, "the proposal counts again")
    for owner, keeper in ((first, first_keeper), (second, second_keeper)):
        await owner.stop()
        await keeper.stop()
