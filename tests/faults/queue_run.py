"""`make queue-run`: three workers send to hundreds of sites while they are killed, and stopped for longer than a lease.

Then, with a quarter of the messages, workers are restarted cleanly, and Kafka is stopped for a minute.

It waits until every message has arrived. Printed: lost, copies beside the attempts that were under way at the strikes,
writes of owners of the past, take-over times, the most connections that a site saw at once; copies, doubts and failures
of the clean restarts; and the rate of deliveries before Kafka was stopped and meanwhile.

make queue-run ARGS="--messages 20000 --sites 500 --kills 6 --stops 3 --restarts 6 --outage 60"
make queue-run ARGS="--short --seed 7"
"""

import argparse
import asyncio
import contextlib
import random
import secrets
import signal
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import uvloop
from tests.faults.ledger import message
from tests.faults.town import Town
from tests.faults.visits import Crowd

from posthorn_ctl.embedded.errors import PartError
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import FsSettings, Storage, StorageSettings
from posthorn_storage.migrate import migrate
from posthorn_storage.shards.registry import register
from posthorn_testkit.databases import Databases
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, start_service
from posthorn_testkit.programs import folder_of_server
from posthorn_testkit.servers import KafkaBroker, postgres_server, running_broker

NODES = (1, 2, 3)
LIMIT = 3
"""Connections to one site."""
SHARDS = 16
UNDER_WAY_SECONDS = 2.0
USUAL_LEASE = 8.0
SHORT_LEASE = 3.0
"""Seconds: the leases that there are by default, and the shortest that may be."""
SHORTER = 'lease-ttl = "{lease:g}s"\nheartbeat = "1s"\nfailure-after = "2s"'
"""The settings that say how soon a process counts as dead, where that is not as by default."""
SIZES = (*[600] * 9, 60_000)
"""Octets of the messages, in turn."""
LAST = 300.0
"""Seconds for the rest of the messages, once nobody is hurt any more."""

SETTINGS = local(
    """
[cluster]
name = "queue-run"
node-id = {node}
{times}
{bus}
queue-shards = {shards}
secret = "only for this run, and for nothing else"
[server]
hostname = "node{node}.example.org"
data = "{folder}/{node}"
drain-delay = "0s"
[resolver]
servers = ["{resolver}"]
[smtp-out]
port = {port}
retry = ["1s", "2s", "4s"]
connections-per-site = {limit}
messages-per-connection = 20
source = "own"
[smtp-out.sources.own]
addresses = ["{client}"]
""",
    level="{level}",
)
SPREAD = 5
"""So many sites are served by several workers, by parts of their limit."""
ONE_SPREAD = """
[smtp-out.sites."{site}"]
spread = {limit}
"""

# Who changed recipients without being the holder of their shard at that moment; sessions are told apart by their users.
WITNESS = """
CREATE TABLE late_write (name text NOT NULL, shard int NOT NULL, at timestamptz NOT NULL);
CREATE FUNCTION witnessed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO late_write SELECT session_user, OLD.shard, clock_timestamp()
    FROM lease l JOIN process p ON p.boot = l.owner
    WHERE l.key = 'queue/' || OLD.shard AND split_part(session_user, '_', 1) <> 'node' || p.node_id;
    RETURN NULL;
END $$;
CREATE TRIGGER witnessed AFTER UPDATE ON queue_recipient FOR EACH ROW EXECUTE FUNCTION witnessed();
"""
SHARES = """
SELECT split_part(l.key, '/', 2)::int AS shard FROM lease l JOIN process p ON p.boot = l.owner
WHERE starts_with(l.key, 'queue/') AND l.until > now() AND p.node_id = $1
"""
HELD = """
SELECT split_part(l.key, '/', 2)::int AS shard, l.epoch FROM lease l JOIN process p ON p.boot = l.owner
WHERE starts_with(l.key, 'queue/') AND p.node_id = $1
"""
"""Also what it should have renewed by now, as long as nobody else has taken it."""
UNDER_WAY = "SELECT count(*) FROM queue_recipient WHERE state = 1 AND shard = ANY ($1::smallint[])"
OPEN = "SELECT count(*) FROM queue_recipient WHERE state IN (0, 1)"
TOKENS = "SELECT split_part(address, '@', 1) AS token FROM queue_recipient"
DOUBTED = "SELECT r.address FROM queue_recipient r WHERE r.doubts > 0"
DOUBTS = "SELECT count(*) FROM queue_event WHERE kind = 'in-doubt'"
FAILURES = "SELECT count(*) FROM queue_event WHERE kind = 'failed'"
CALM = 4
"""Of so many messages one is kept for the clean restarts and the time without the bus."""
BEFORE = 20.0
"""Seconds for which the rate is measured before the bus stops."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done, and how often."""

    messages: int
    sites: int
    kills: int
    stops: int
    seed: int
    rate: float
    """Messages queued in a second."""
    lease: float = USUAL_LEASE
    """Seconds; other leases than the usual ones have heartbeats to match."""
    restarts: int = 0
    """By SIGTERM."""
    outage: float = 0.0
    """Seconds without Kafka; 0: the bus is peer to peer."""
    log: Path | None = None
    """Where to put all that the processes logged; None: nowhere, and they log warnings alone."""

    @property
    def loud(self) -> int:
        """How many messages are queued while there are strikes; the rest comes when those are over."""
        return self.messages - (self.messages // CALM if self.restarts or self.outage else 0)


class TakeOver(NamedTuple):
    """Of one shard."""

    seconds: float
    """From the strike to the first delivery by its next owner."""
    again: bool
    """Whether a next owner was struck itself before it delivered anything."""


class Rates(NamedTuple):
    """Of a time, in a second."""

    delivered: float = 0.0
    queued: float = 0.0

    def __str__(self) -> str:
        return f"{self.delivered:.1f} deliveries/s, {self.queued:.1f} queued"


@dataclass(slots=True)
class Tally:
    """What came of it."""

    copies: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    unmarked: list[str] = field(default_factory=list)
    """Messages that came twice and are not marked as in doubt."""
    under_way: int = 0
    """Attempts of the struck processes at the strikes."""
    doubts: int = 0
    losses: int = 0
    """Leases that processes lost which nobody had struck: on a machine that is too slow for them."""
    late: int = 0
    take_overs: dict[str, list[TakeOver]] = field(default_factory=lambda: {"killed": [], "stopped": []})
    crowd: Crowd = field(default_factory=Crowd)
    """The most connections of one site at once, but those of processes that could not close them any more."""
    crowd_with_struck: Crowd = field(default_factory=Crowd)
    begun: float = 0.0
    seconds: float = 0.0
    said: dict[str, int] = field(default_factory=dict)
    exits: list[tuple[int, float]] = field(default_factory=list)
    """Exit codes of clean restarts, and the seconds until the end."""
    calm_copies: int = 0
    calm_doubts: int = 0
    failures: int = 0
    """Recipients that failed, in the whole run."""
    calm_losses: int = 0
    """As `losses`."""
    before: Rates = field(default_factory=Rates)
    """Before the bus was stopped."""
    without: Rates = field(default_factory=Rates)
    """From when it was told to stop until it was started again."""

    @property
    def repeats(self) -> int:
        return sum(count - 1 for count in self.copies.values())

    @property
    def may_repeat(self) -> int:
        """Attempts whose end is unknown: those under way at the strikes, and where leases were lost without one, those
        under way then. These were seen by nobody, but what is in doubt tells of them.
        """
        return max(self.under_way, self.doubts) if self.losses else self.under_way

    @property
    def most(self) -> int:
        return len(self.crowd.visits)

    def wrong(self) -> list[str]:
        """What must not be."""
        found = {
            f"{self.lost} messages are lost": self.lost,
            f"{self.repeats} copies beside {self.may_repeat} attempts under way": self.repeats > self.may_repeat,
            f"came twice and are not in doubt: {self.unmarked[:5]}": self.unmarked,
            f"{self.late} rows were changed by who did not hold their shard": self.late,
            f"connections at once, {LIMIT} are allowed: {self.crowd.story(self.begun)}": self.most > LIMIT,
            f"clean restarts: {self._calm()}": self.calm_copies or self.calm_doubts,
            f"clean restarts ended with {self.exits}": any(code for code, _ in self.exits),
            f"{self.failures} recipients failed": self.failures,
            f"without the bus: {self.without}": self.without.delivered < self.without.queued / 2,
        }
        return [text for text, holds in found.items() if holds]

    def _calm(self) -> str:
        return f"copies: {self.calm_copies}, in doubt: {self.calm_doubts}, leases lost: {self.calm_losses}"

    def table(self) -> str:
        """For people."""
        every = [each for found in self.take_overs.values() for each in found]
        return "\n".join(
            (
                f"{len(self.copies)} messages in {self.seconds:.0f} s, lost: {self.lost}",
                f"copies: {self.repeats}, {len(self.unmarked)} of them not marked as in doubt; attempts under way at "
                f"the strikes: {self.under_way}, in doubt: {self.doubts}; leases lost without a strike: {self.losses}",
                f"rows changed by an owner of the past: {self.late}",
                f"take-over, from the strike to the first delivery of a shard: {_spread(every)}",
                f"but those whose next owner was struck too: {_spread([each for each in every if not each.again])}",
                *(f"whose owner was {how}: {_spread(found)}" for how, found in self.take_overs.items()),
                f"connections that a site saw at once: {self.most} of {LIMIT}; with those that stopped processes could "
                f"not close: {len(self.crowd_with_struck.visits)} ({self.crowd_with_struck.story(self.begun)})",
                f"clean restarts: {len(self.exits)}, {self._calm()}, longest end "
                f"{max((each for _, each in self.exits), default=0.0):.1f} s; failed recipients: {self.failures}",
                f"before the bus was stopped: {self.before}; without it: {self.without}",
                f"what the sites did: {self.said}",
            )
        )


def _spread(found: Sequence[TakeOver]) -> str:
    """For people."""
    times = sorted(each.seconds for each in found)
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [*times, 0.0][:1] * 99
    most = max(times, default=0.0)
    return f"p50 {cuts[49]:.1f} s, p90 {cuts[89]:.1f} s, p99 {cuts[98]:.1f} s, most {most:.1f} s, {len(times)} shards"


class Run:
    """Three processes, a town and a watch on the database."""

    def __init__(
        self,
        plan: Plan,
        dsn: str,
        dsns: dict[int, str],
        folder: Path,
        town: Town,
        storage: Storage,
        watch: Any,
        broker: KafkaBroker | None,
    ) -> None:
        self.plan = plan
        self.broker = broker
        bus = "" if broker is None else f'type = "kafka"\nbootstrap-servers = ["{broker.servers}"]'
        self.dsn = dsn
        self.town = town
        self.storage = storage
        self.watch = watch
        self.processes: dict[int, ServiceProcess] = {}
        self._all: list[tuple[int, ServiceProcess]] = []
        self._stopped: dict[int, list[str]] = {}
        """Processes that were stopped, and how what they say of the leases begins that ended meanwhile."""
        self._queued = 0
        self.configs = {node: folder / f"{node}.toml" for node in NODES}
        self.tally = Tally()
        self.draw = random.Random(plan.seed)
        self._strikes: list[tuple[float, int, list[int]]] = []
        """When, whose deliveries do not count afterwards, and which shards it had."""
        self._loop = asyncio.get_running_loop()
        for node, dsn in dsns.items():
            self.configs[node].write_text(
                SETTINGS.format(
                    node=node,
                    times="" if plan.lease == USUAL_LEASE else SHORTER.format(lease=plan.lease),
                    level="info" if plan.log else "warning",
                    bus=bus,
                    shards=SHARDS,
                    folder=folder,
                    resolver=town.resolver,
                    dsn=dsn,
                    port=town.port,
                    limit=LIMIT,
                    client=town.client(node),
                )
                + "".join(ONE_SPREAD.format(site=site, limit=LIMIT) for site in town.sites[:SPREAD])
            )

    async def __aenter__(self) -> Self:
        for node in NODES:
            await self._start(node)
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.signal(signal.SIGCONT)
            await process.kill()
        if self.plan.log is not None:
            stories = (f"node {node}, process {process.pid}\n{process.story()}\n" for node, process in self._all)
            self.plan.log.write_text("\n".join(stories), encoding="utf-8")

    async def _start(self, node: int) -> None:
        self.processes[node] = await start_service("posthorn_smtp_out", self.configs[node])
        self._all.append((node, self.processes[node]))

    async def feed(self, begin: int, end: int, rate: float) -> None:
        """Queue the messages with these numbers, so many in a second, for all sites in turn."""
        batch = max(1, int(rate / 10))
        connection = await asyncpg.connect(self.dsn)
        for first in range(begin, end, batch):
            begun = self._loop.time()
            new = []
            for number in range(first, min(first + batch, end)):
                site = self.town.sites[number % len(self.town.sites)]
                address = f"q{number}@{site}"
                blob = await self.storage.blobs.prepare(
                    message(f"q{number}", "ann@example.org", address, SIZES[number % len(SIZES)])
                )
                new.append(NewQueueMessage("ann@example.org", blob, [NewRecipient(address, site, notify="NEVER")]))
            async with connection.transaction():
                await self.storage.queue.enqueue_in(connection, new)
            self._queued += len(new)
            await asyncio.sleep(max(0.0, batch / rate - (self._loop.time() - begun)))
        await connection.close()

    async def until_taken(self, count: int, seconds: float) -> None:
        """Wait until so many different messages have been taken. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while len(self.town.tokens()) < count:  # noqa: ASYNC110  what others do
                await asyncio.sleep(0.1)

    async def strike(self, *, kill: bool) -> None:
        """kill -9 for a worker that owns shards, and another one in its place; or a stop for longer than a lease."""
        node, shards = await self._owner()
        process = self.processes[node]
        process.signal(signal.SIGKILL if kill else signal.SIGSTOP)
        moment = self._loop.time()
        self.town.stopped(node)
        held = await self.watch.fetch(HELD, node)  # it may have taken more in the meantime
        shards = sorted({*shards, *(row["shard"] for row in held)})
        # After a kill another process of the same node may be the next owner; one that goes on is an owner of the past.
        self._strikes.append((moment, 0 if kill else node, shards))
        self.tally.under_way += await self.watch.fetchval(UNDER_WAY, shards)
        self._tell(f"{'killed' if kill else 'stopped'} node {node} with {len(shards)} shards")
        if kill:
            await process.kill()
            self.town.goes_on(node)
            await self._start(node)
        else:
            ended = [f"lease queue/{row['shard']} of epoch {row['epoch']} lost: " for row in held]
            self._stopped.setdefault(process.pid, []).extend(ended)
            await asyncio.sleep(1.5 * self.plan.lease)
            self.town.goes_on(node)
            process.signal(signal.SIGCONT)

    async def restart(self) -> None:
        """SIGTERM for a worker that sends, and a new one in its place."""
        node, _ = await self._owner()
        begun = self._loop.time()
        code = await self.processes[node].end()
        self.tally.exits.append((code, self._loop.time() - begun))
        self._tell(f"ended node {node} in {self.tally.exits[-1][1]:.1f} s")
        await self._start(node)

    async def be_calm(self) -> None:
        """Clean restarts under load, then a time without the bus; nothing comes twice, fails or is in doubt."""
        plan, tally = self.plan, self.tally
        doubts, copies, losses = tally.doubts, tally.repeats, self._losses()
        seconds = BEFORE + plan.outage if plan.outage else 0.0
        rate = (plan.messages - plan.loud) / (seconds + 6.0 * plan.restarts)
        last = plan.messages - int(rate * seconds)
        feeding = asyncio.create_task(self.feed(plan.loud, last, rate))
        try:
            for number in range(plan.restarts):
                await self.until_taken(plan.loud + int(rate * 4 * (number + 1)), LAST)
                await self.restart()
            await feeding
            feeding = asyncio.create_task(self.feed(last, plan.messages, rate))
            if self.broker is not None and plan.outage:
                tally.before = await self._measured(asyncio.sleep(BEFORE))
                tally.without = await self._measured(self._outage(self.broker))
                await self.broker.start()
            await feeding
        finally:
            feeding.cancel()
        self.town.mending = True
        await self.until_taken(plan.messages, LAST)
        await self.judge()
        tally.calm_doubts, tally.calm_copies = tally.doubts - doubts, tally.repeats - copies
        tally.calm_losses = self._losses() - losses

    async def _outage(self, broker: KafkaBroker) -> None:
        self._tell("Kafka is told to stop")
        await broker.stop()
        self._tell("Kafka is stopped")
        await asyncio.sleep(self.plan.outage)

    async def _measured(self, work: Awaitable[None]) -> Rates:
        """How many messages are delivered, and queued, in a second while something goes on."""
        taken, queued, begun = len(self.town.taken), self._queued, self._loop.time()
        await work
        seconds = self._loop.time() - begun
        return Rates((len(self.town.taken) - taken) / seconds, (self._queued - queued) / seconds)

    def _losses(self) -> int:
        """Leases that processes have lost, as they say, but those that they held when they were stopped."""
        events = [
            line["event"]
            for _, process in self._all
            for line in process.lines
            if not line["event"].startswith(tuple(self._stopped.get(process.pid, ())))
        ]
        return sum(event.startswith("lease queue/") and " lost: " in event for event in events)

    async def _owner(self) -> tuple[int, list[int]]:
        """One of the nodes that own shards, and which."""
        async with asyncio.timeout(LAST):
            while not (shards := await self._shards(node := self.draw.choice(NODES))):  # noqa: ASYNC110  what others do
                await asyncio.sleep(0.1)
        return node, shards

    def _tell(self, text: str) -> None:
        print(f"{self._loop.time() - self.tally.begun:7.1f} s: {text}", flush=True)

    async def _shards(self, node: int) -> list[int]:
        return [row["shard"] for row in await self.watch.fetch(SHARES, node)]

    async def judge(self) -> None:
        """Wait until the queue is empty, and count."""
        async with asyncio.timeout(LAST):
            while await self.watch.fetchval(OPEN):  # noqa: ASYNC110  as above
                await asyncio.sleep(0.2)
        tally = self.tally
        tally.copies = dict(self.town.tokens())
        expected = {row["token"] for row in await self.watch.fetch(TOKENS)}
        tally.lost = len(expected - tally.copies.keys())
        tally.failures = await self.watch.fetchval(FAILURES)
        doubted = {row["address"].partition("@")[0] for row in await self.watch.fetch(DOUBTED)}
        tally.unmarked = sorted(token for token, count in tally.copies.items() if count > 1 and token not in doubted)
        tally.doubts = await self.watch.fetchval(DOUBTS)
        tally.losses = self._losses()
        tally.late = await self.watch.fetchval("SELECT count(*) FROM late_write")
        tally.crowd, tally.crowd_with_struck = self.town.visits.largest(), self.town.visits.largest(struck=True)
        tally.said = dict(self.town.said)
        if any(tally.take_overs.values()):
            return
        by_shard: dict[int, set[str]] = {}
        for site in self.town.sites[SPREAD:]:
            by_shard.setdefault(self.storage.queue.shard_of(site), set()).add(site)
        for moment, node, shards in self._strikes:
            # What was under way arrives at once; nobody else is an owner so soon.
            soon = moment + UNDER_WAY_SECONDS
            for shard in shards:
                at = self.town.first_after(soon, by_shard.get(shard, set()), node)
                if at is not None:
                    again = any(moment < then < at and shard in others for then, _, others in self._strikes)
                    tally.take_overs["stopped" if node else "killed"].append(TakeOver(at - moment, again))


async def play(dsn: str, folder: Path, plan: Plan, broker: KafkaBroker | None = None) -> Tally:
    """The whole run on a migrated, empty database. Raises TimeoutError when something does not arrive."""
    settings = StorageSettings(dsn=dsn, blobs=FsSettings(folder / "blobs"), queue_shards=SHARDS)
    async with contextlib.AsyncExitStack() as stack:
        watch = await asyncpg.connect(dsn)
        stack.push_async_callback(watch.close)
        await watch.execute(WITNESS)
        dsns = await stack.enter_async_context(users(watch, dsn))
        await register(settings)
        storage = await Storage.open(settings)
        stack.push_async_callback(storage.close)
        town = await stack.enter_async_context(Town(plan.sites, plan.seed))
        run = await stack.enter_async_context(Run(plan, dsn, dsns, folder, town, storage, watch, broker))
        begun = run.tally.begun = asyncio.get_running_loop().time()
        feeding = asyncio.create_task(run.feed(0, plan.loud, plan.rate))
        stack.callback(feeding.cancel)
        strikes = [True] * plan.kills + [False] * plan.stops
        run.draw.shuffle(strikes)
        for number, kill in enumerate(strikes, 1):
            await run.until_taken(number * plan.loud // (len(strikes) + 2), LAST)
            await run.strike(kill=kill)
        await feeding
        await run.until_taken(plan.loud * 9 // 10, LAST)
        town.mending = True
        await run.until_taken(plan.loud, LAST)
        await run.judge()
        if plan.loud < plan.messages:
            town.mending = False
            await run.be_calm()
        run.tally.seconds = asyncio.get_running_loop().time() - begun
        return run.tally


@contextlib.asynccontextmanager
async def users(watch: Any, dsn: str) -> AsyncIterator[dict[int, str]]:
    """A user of the database for each node: their DSNs."""
    word = secrets.token_hex(4)
    await watch.execute("".join(f"CREATE ROLE node{n}_{word} SUPERUSER LOGIN PASSWORD '{word}';" for n in NODES))
    parts = urlsplit(dsn)
    place = parts.netloc.rpartition("@")[2]
    try:
        yield {n: urlunsplit(parts._replace(netloc=f"node{n}_{word}:{word}@{place}")) for n in NODES}
    finally:
        await watch.execute("".join(f"DROP ROLE node{n}_{word};" for n in NODES))


def main() -> int:
    """Exit code 0: all is well; 1: something is not; 3: a part it needs is missing."""
    parser = argparse.ArgumentParser(
        prog="make queue-run", description="Kill and stop senders, and count what arrives."
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--sites", type=int, default=500)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--stops", type=int, default=3)
    parser.add_argument("--restarts", type=int, default=6, help="clean ones, once the strikes are over")
    parser.add_argument("--outage", type=float, default=60.0, help="seconds without Kafka; 0: peer to peer")
    parser.add_argument("--lease", type=float, default=USUAL_LEASE, help="seconds; if not as usual, heartbeats match")
    parser.add_argument("--short", dest="lease", action="store_const", const=SHORT_LEASE, help="the shortest leases")
    parser.add_argument("--rate", type=float, default=150.0, help="messages queued in a second")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write all that the senders log there")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    plan = Plan(**vars(parser.parse_args()))
    print(f"seed {plan.seed}", flush=True)
    try:
        with postgres_server() as server, folder_of_server("queue-run") as folder:
            databases = Databases(server, migrate)
            bus = running_broker() if plan.outage else contextlib.nullcontext()
            with databases.fresh() as dsn, bus as broker:
                tally = uvloop.run(play(dsn, folder, plan, broker))
            databases.close()
    except PartError as error:
        print(f"make queue-run: {error}", file=sys.stderr)
        return 3
    print(tally.table())
    for text in (wrong := tally.wrong()):
        print(f"WRONG: {text}")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
