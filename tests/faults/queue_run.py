"""`make queue-run`: three workers send to hundreds of sites while they are killed, and stopped for longer than a lease.

It waits until every message has arrived. Printed: lost, copies beside the attempts that were under way at the strikes,
writes of owners of the past, take-over times, and the most connections that a site saw at once.

make queue-run ARGS="--messages 20000 --sites 500 --kills 6 --stops 3"
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
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import uvloop
from tests.faults.ledger import message
from tests.faults.town import Town

from posthorn_ctl.embedded.errors import PartError
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import FsSettings, Storage, StorageSettings
from posthorn_storage.migrate import migrate
from posthorn_storage.shards.registry import register
from posthorn_testkit.databases import Databases
from posthorn_testkit.process import ServiceProcess, start_service
from posthorn_testkit.programs import folder_of_server
from posthorn_testkit.servers import postgres_server

NODES = (1, 2, 3)
LIMIT = 3
"""Connections to one site."""
SHARDS = 16
UNDER_WAY_SECONDS = 2.0
USUAL_LEASE = 8.0
SHORT_LEASE = 4.0
TIMES = {
    False: "",
    True: f'lease-ttl = "{SHORT_LEASE:g}s"\nheartbeat = "1s"\nfailure-after = "2s"',
}
"""The settings that say how soon a process counts as dead: as they are by default, and as short as they may be."""
SIZES = (*[600] * 9, 60_000)
"""Octets of the messages, in turn."""
LAST = 300.0
"""Seconds for the rest of the messages, once nobody is hurt any more."""

SETTINGS = """
[cluster]
name = "queue-run"
node-id = {node}
{times}
queue-shards = {shards}
secret = "only for this run, and for nothing else"
[server]
hostname = "node{node}.example.org"
data = "{folder}/{node}"
drain-delay = "0s"
[resolver]
servers = ["{resolver}"]
[store.postgres]
type = "postgresql"
dsn = "{dsn}"
[store.fs]
type = "fs"
path = "{folder}/blobs"
[metrics]
bind = "127.0.0.1:0"
[log]
format = "json"
level = "warning"
[smtp-out]
port = {port}
retry = ["1s", "2s", "4s"]
connections-per-site = {limit}
messages-per-connection = 20
source = "own"
[smtp-out.sources.own]
addresses = ["{client}"]
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
UNDER_WAY = "SELECT count(*) FROM queue_recipient WHERE state = 1 AND shard = ANY ($1::smallint[])"
OPEN = "SELECT count(*) FROM queue_recipient WHERE state IN (0, 1)"
DOUBTED = "SELECT r.address FROM queue_recipient r WHERE r.doubts > 0"
DOUBTS = "SELECT count(*) FROM queue_event WHERE kind = 'in-doubt'"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done, and how often."""

    messages: int
    sites: int
    kills: int
    stops: int
    short: bool
    """Short leases, and heartbeats to match."""
    seed: int
    rate: float
    """Messages queued in a second."""


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
    late: int = 0
    take_overs: list[float] = field(default_factory=list)
    most: int = 0
    most_with_stopped: int = 0
    seconds: float = 0.0
    said: dict[str, int] = field(default_factory=dict)

    @property
    def repeats(self) -> int:
        return sum(count - 1 for count in self.copies.values())

    def wrong(self) -> list[str]:
        """What must not be."""
        found = {
            f"{self.lost} messages are lost": self.lost,
            f"{self.repeats} copies beside {self.under_way} attempts under way": self.repeats > self.under_way,
            f"came twice and are not in doubt: {self.unmarked[:5]}": self.unmarked,
            f"{self.late} rows were changed by who did not hold their shard": self.late,
            f"a site saw {self.most} connections at once, {LIMIT} are allowed": self.most > LIMIT,
        }
        return [text for text, holds in found.items() if holds]

    def table(self) -> str:
        """For people."""
        times = sorted(self.take_overs)
        cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [0.0] * 99
        return "\n".join(
            (
                f"{len(self.copies)} messages in {self.seconds:.0f} s, lost: {self.lost}",
                f"copies: {self.repeats}, {len(self.unmarked)} of them not marked as in doubt; attempts under way at "
                f"the strikes: {self.under_way}, in doubt: {self.doubts}",
                f"rows changed by an owner of the past: {self.late}",
                f"take-over, from the strike to the first delivery of a shard: p50 {cuts[49]:.1f} s, "
                f"p90 {cuts[89]:.1f} s, p99 {cuts[98]:.1f} s, {len(times)} shards",
                f"connections that a site saw at once: {self.most} of {LIMIT}; with those that stopped processes could "
                f"not close: {self.most_with_stopped}",
                f"what the sites did: {self.said}",
            )
        )


class Run:
    """Three processes, a town and a watch on the database."""

    def __init__(
        self, plan: Plan, dsn: str, dsns: dict[int, str], folder: Path, town: Town, storage: Storage, watch: Any
    ) -> None:
        self.plan = plan
        self.dsn = dsn
        self.town = town
        self.storage = storage
        self.watch = watch
        self.processes: dict[int, ServiceProcess] = {}
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
                    times=TIMES[plan.short],
                    shards=SHARDS,
                    folder=folder,
                    resolver=town.resolver,
                    dsn=dsn,
                    port=town.port,
                    limit=LIMIT,
                    client=town.client(node),
                )
            )

    async def __aenter__(self) -> Self:
        for node in NODES:
            await self._start(node)
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.signal(signal.SIGCONT)
            await process.kill()

    async def _start(self, node: int) -> None:
        self.processes[node] = await start_service("posthorn_smtp_out", self.configs[node])

    async def feed(self) -> None:
        """Queue all messages, so many in a second, for all sites in turn."""
        batch = max(1, int(self.plan.rate / 10))
        connection = await asyncpg.connect(self.dsn)
        for first in range(0, self.plan.messages, batch):
            begun = self._loop.time()
            new = []
            for number in range(first, min(first + batch, self.plan.messages)):
                site = self.town.sites[number % len(self.town.sites)]
                address = f"q{number}@{site}"
                blob = await self.storage.blobs.prepare(
                    message(f"q{number}", "ann@example.org", address, SIZES[number % len(SIZES)])
                )
                new.append(NewQueueMessage("ann@example.org", blob, [NewRecipient(address, site, notify="NEVER")]))
            async with connection.transaction():
                await self.storage.queue.enqueue_in(connection, new)
            await asyncio.sleep(max(0.0, batch / self.plan.rate - (self._loop.time() - begun)))
        await connection.close()

    async def until_taken(self, count: int, seconds: float) -> None:
        """Wait until so many different messages have been taken. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while len(self.town.tokens()) < count:  # noqa: ASYNC110  what others do
                await asyncio.sleep(0.1)

    async def strike(self, *, kill: bool) -> None:
        """kill -9 for a worker that owns shards, and another one in its place; or a stop for longer than a lease."""
        async with asyncio.timeout(60):
            while not (shards := await self._shards(node := self.draw.choice(NODES))):  # noqa: ASYNC110  as above
                await asyncio.sleep(0.1)
        process = self.processes[node]
        process.signal(signal.SIGKILL if kill else signal.SIGSTOP)
        moment = self._loop.time()
        self.town.stopped(node)
        # After a kill another process of the same node may be the next owner; one that goes on is an owner of the past.
        self._strikes.append((moment, 0 if kill else node, shards))
        self.tally.under_way += await self.watch.fetchval(UNDER_WAY, shards)
        print(f"{'killed' if kill else 'stopped'} node {node} with {len(shards)} shards", flush=True)
        if kill:
            await process.kill()
            self.town.goes_on(node)
            await self._start(node)
        else:
            await asyncio.sleep(1.5 * (SHORT_LEASE if self.plan.short else USUAL_LEASE))
            self.town.goes_on(node)
            process.signal(signal.SIGCONT)

    async def _shards(self, node: int) -> list[int]:
        return [row["shard"] for row in await self.watch.fetch(SHARES, node)]

    async def judge(self) -> None:
        """Wait until the queue is empty, and count."""
        async with asyncio.timeout(LAST):
            while await self.watch.fetchval(OPEN):  # noqa: ASYNC110  as above
                await asyncio.sleep(0.2)
        tally = self.tally
        tally.copies = dict(self.town.tokens())
        expected = {f"q{number}" for number in range(self.plan.messages)}
        tally.lost = len(expected - tally.copies.keys())
        doubted = {row["address"].partition("@")[0] for row in await self.watch.fetch(DOUBTED)}
        tally.unmarked = sorted(token for token, count in tally.copies.items() if count > 1 and token not in doubted)
        tally.doubts = await self.watch.fetchval(DOUBTS)
        tally.late = await self.watch.fetchval("SELECT count(*) FROM late_write")
        tally.most, tally.most_with_stopped = self.town.most, self.town.most_with_stopped
        tally.said = dict(self.town.said)
        by_shard: dict[int, set[str]] = {}
        for site in self.town.sites:
            by_shard.setdefault(self.storage.queue.shard_of(site), set()).add(site)
        for moment, node, shards in self._strikes:
            # What was under way arrives at once; nobody else is an owner so soon.
            soon = moment + UNDER_WAY_SECONDS
            found = (self.town.first_after(soon, by_shard.get(shard, set()), node) for shard in shards)
            tally.take_overs += [at - moment for at in found if at is not None]


async def play(dsn: str, folder: Path, plan: Plan) -> Tally:
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
        run = await stack.enter_async_context(Run(plan, dsn, dsns, folder, town, storage, watch))
        begun = asyncio.get_running_loop().time()
        feeding = asyncio.create_task(run.feed())
        stack.callback(feeding.cancel)
        strikes = [True] * plan.kills + [False] * plan.stops
        run.draw.shuffle(strikes)
        for number, kill in enumerate(strikes, 1):
            await run.until_taken(number * plan.messages // (len(strikes) + 2), LAST)
            await run.strike(kill=kill)
        await feeding
        await run.until_taken(plan.messages * 9 // 10, LAST)
        town.mending = True
        await run.until_taken(plan.messages, LAST)
        await run.judge()
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
    parser.add_argument("--short", action="store_true", help="leases of 4 s, and heartbeats to match")
    parser.add_argument("--rate", type=float, default=150.0, help="messages queued in a second")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    plan = Plan(**vars(parser.parse_args()))
    print(f"seed {plan.seed}", flush=True)
    try:
        with postgres_server() as server, folder_of_server("queue-run") as folder:
            databases = Databases(server, migrate)
            with databases.fresh() as dsn:
                tally = uvloop.run(play(dsn, folder, plan))
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
