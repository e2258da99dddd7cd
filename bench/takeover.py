"""How long a role is without a holder: after kill -9 of a maintenance process, and when one is stopped.

Real processes on a real PostgreSQL, over a real Kafka and peer to peer, with the default times. Each round ends one of
three processes and starts it again; somebody else watches the rows of the leases. `make takeover ARGS="--rounds 30"`.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from posthorn_storage.migrate import migrate
from posthorn_testkit.databases import Databases
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, start_service
from posthorn_testkit.programs import folder_of_server
from posthorn_testkit.servers import postgres_server, running_broker

NODES: Final = (1, 2, 3)
SHARES: Final = 4
LONGEST: Final = 60.0
SETTLE: Final = 4.0
LEASES: Final = "SELECT key, owner, epoch, until > clock_timestamp() AS live FROM lease WHERE starts_with(key, 'role/')"

SETTINGS: Final = local("""
[cluster]
name = "{name}"
node-id = {node}
secret = "only for this measurement, and for nothing else"
{coordinator}
{lease}
[cluster.roles]
purge.accounts = {lists}
index.messages = {lists}
[server]
hostname = "node{node}.example.org"
data = "{folder}/{node}"
drain-delay = "0s"
""")


@dataclass(frozen=True, slots=True)
class Round:
    """One role that lost its holder: seconds until the next one, from the signal and from the end of the lease."""

    since_signal: float
    without: float


class Crew:
    """Three maintenance processes and a connection that watches."""

    def __init__(self, watch: "asyncpg.Connection[Any]", configs: dict[int, Path]) -> None:
        self._watch = watch
        self._configs = configs
        self.processes: dict[int, ServiceProcess] = {}
        self.boots: dict[str, int] = {}

    async def start(self, node: int) -> None:
        """Start a node's process, and learn its boot id."""
        process = self.processes[node] = await start_service("posthorn_maintenance", self._configs[node])
        await process.logged(lambda line: line["event"] == "ready")
        rows = await self._watch.fetch("SELECT boot, node_id FROM process WHERE state <> 'left' ORDER BY started_at")
        self.boots = {row["boot"]: row["node_id"] for row in rows}

    async def leases(self) -> dict[str, tuple[int, int, bool]]:
        """Of each role its node, epoch, and whether it is held."""
        rows = await self._watch.fetch(LEASES)
        return {row["key"]: (self.boots.get(row["owner"], 0), row["epoch"], row["live"]) for row in rows}

    async def settled(self, roles: int) -> None:
        """Wait until every role is held and nothing has changed hands for a while."""
        since, last = time.monotonic(), None
        while time.monotonic() - since < SETTLE:
            await asyncio.sleep(0.1)
            found = await self.leases()
            if found != last or len(found) < roles or not all(live for _, _, live in found.values()):
                since, last = time.monotonic(), found

    async def round(self, *, kill: bool) -> list[Round]:
        """End the process that holds the most roles, and time how each gets a new holder."""
        before = await self.leases()
        counts = {node: sum(held[0] == node for held in before.values()) for node in NODES}
        victim = max(NODES, key=lambda node: counts[node])
        mine = {key: epoch for key, (node, epoch, _) in before.items() if node == victim}
        signalled = time.monotonic()
        ending = asyncio.create_task(self.processes[victim].kill() if kill else self.processes[victim].end())
        ended: dict[str, float] = {}
        found: list[Round] = []
        while mine:
            if time.monotonic() - signalled > LONGEST:
                raise TimeoutError(f"nobody took {sorted(mine)} within {LONGEST:.0f} s")
            now, leases = time.monotonic(), await self.leases()
            for key, epoch in tuple(mine.items()):
                _, current, live = leases[key]
                if not live:
                    ended.setdefault(key, now)
                if current > epoch:
                    del mine[key]
                    found.append(Round(now - signalled, now - ended.get(key, now)))
            await asyncio.sleep(0.005)
        await ending
        await self.start(victim)
        return found


@contextmanager
def coordinators(wanted: str) -> Iterator[dict[str, str]]:
    """The lines of the settings that name each coordinator."""
    with ExitStack() as stack:
        found = {}
        if "peer" in wanted:
            found["peer to peer"] = ""
        if "kafka" in wanted:
            broker = stack.enter_context(running_broker())
            found["kafka"] = f'type = "kafka"\nbootstrap-servers = ["{broker.servers}"]'
        yield found


@asynccontextmanager
async def crew(dsn: str, folder: Path, coordinator: str, lease: str) -> AsyncIterator[Crew]:
    """Three processes over one coordinator, settled."""
    lists = json.dumps([list(NODES)] * SHARES)
    configs = {}
    for node in NODES:
        configs[node] = folder / f"{node}.toml"
        configs[node].write_text(
            SETTINGS.format(
                name="takeover",
                node=node,
                coordinator=coordinator,
                lease=f'lease-ttl = "{lease}"' if lease else "",
                lists=lists,
                folder=folder,
                dsn=dsn,
            )
        )
    async with AsyncExitStack() as stack:
        watch = await asyncpg.connect(dsn)
        stack.push_async_callback(watch.close)
        made = Crew(watch, configs)
        try:
            for node in NODES:
                await made.start(node)
            yield made
        finally:
            for process in made.processes.values():
                await process.kill()


async def measure(dsn: str, folder: Path, coordinator: str, lease: str, rounds: int) -> dict[str, list[Round]]:
    """All rounds over one coordinator, kills and stops in turn."""
    found: dict[str, list[Round]] = {"kill -9": [], "clean stop": []}
    async with crew(dsn, folder, coordinator, lease) as made:
        for _ in range(rounds):
            for name, results in found.items():
                await made.settled(2 * SHARES + 2)
                await asyncio.sleep(random.uniform(0, 3))
                results += await made.round(kill=name == "kill -9")
    return found


def line(name: str, values: list[float]) -> str:
    """One row of the table: seconds."""
    values = sorted(values)
    cuts = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else values * 99
    shown = (cuts[49], cuts[89], cuts[98], values[-1])
    return f"{name:<44} {len(values):>5} " + " ".join(f"{value:>7.2f}" for value in shown)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="kills, and clean stops, over each coordinator")
    parser.add_argument("--bus", default="peer,kafka", help="peer, kafka or both")
    parser.add_argument("--lease", default="", help="another lease-ttl than the default, such as 8s")
    given = parser.parse_args()
    print(f"{'seconds without a holder':<44} {'roles':>5} {'p50':>7} {'p90':>7} {'p99':>7} {'max':>7}", flush=True)
    with postgres_server() as server, coordinators(given.bus) as found:
        databases = Databases(server, migrate)
        for name, coordinator in found.items():
            with databases.fresh() as dsn, folder_of_server("takeover") as folder:
                results = asyncio.run(measure(dsn, folder, coordinator, given.lease, given.rounds))
            for how, rounds in results.items():
                print(line(f"{name}, {how}, from the signal", [each.since_signal for each in rounds]), flush=True)
                print(line(f"{name}, {how}, from the lease's end", [each.without for each in rounds]), flush=True)
        databases.close()


if __name__ == "__main__":
    main()
