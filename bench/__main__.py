"""`make bench`: runs the rows and prints their table; the JSON goes to bench/results/."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import uvloop

from bench import runner
from bench.cluster import running
from bench.filling import Shape, Tell
from bench.peers.peer import Missing
from bench.postgresql import embedded, packaged, sized
from bench.rows import (
    auth,
    bans,
    blobs,
    bus,
    imap,
    lookup,
    mail_in,
    mail_out,
    mime,
    moves,
    notice,
    plan,
    queue,
    search,
    sizes,
    smtp_in,
    start_up,
    storage,
)
from bench.stock import stocked
from posthorn_node.garbage import spare_what_stays
from posthorn_storage.migrate import migrate
from posthorn_testkit.databases import Databases
from posthorn_testkit.redis_servers import redis_server
from posthorn_testkit.servers import postgres_server, s3_server

RESULTS = Path(__file__).parent / "results"
GROUPS = (
    *("smtp", "smtp-in", "smtp-out", "imap", "bus", "notice", "start", "mime", "plan"),
    *("storage", "sizes", "lookup", "search", "blobs", "moves", "auth"),
)
ON_REQUEST = ("large",)
SIZES = ((1_000, Shape(1_000)), (100_000, Shape(10)))
"""Accounts and the mail in each of them."""
LARGE = Shape(1_000, widths=1, logged=100)
"""Of each account of the group large, which is measured only when named. An account takes 1.4 MB."""
ACCOUNTS = 10_000
"""Of the group large, unless told otherwise."""
FILLED_FAST = {"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "2GB"}
"""What fills the database of the group large is not logged."""


async def _on_a_cluster(groups: list[str], tell: Tell) -> list[runner.Result]:
    tell("starting a cluster")
    async with running() as cluster:
        rows = [
            *(smtp_in.rows(cluster) if "smtp" in groups else ()),
            *(bus.rows(cluster) if "bus" in groups else ()),
        ]
        return [await runner.run(row, tell) for row in rows]


async def _beside_others(groups: list[str], tell: Tell, only: str) -> list[runner.Result]:
    """Whole services beside other servers, each on a PostgreSQL of its own.

    Mail comes in at one that packs texts as operators are told to have it: that is much of what PostgreSQL does for it.
    """
    results = []
    for name, rows, opened in (
        ("imap", imap.results, embedded),
        ("smtp-in", mail_in.results, partial(packaged, tell)),
        ("smtp-out", mail_out.results, embedded),
    ):
        if name in groups:
            with opened() as server:
                try:
                    results += await rows(server, tell, only)
                except Missing as reason:
                    tell(f"{name} is left out: {reason}")
    return results


async def measure(groups: list[str], only: str = "", accounts: int = ACCOUNTS) -> list[runner.Result]:
    """The results of the groups' rows; of smtp-in's, smtp-out's and imap's those whose titles contain `only`.

    `accounts` are those of the group large.
    """

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    results = []
    if set(groups) & {"smtp", "bus"}:
        results += await _on_a_cluster(groups, tell)
    if "notice" in groups:
        tell("starting a cluster of two nodes")
        async with running("--nodes", "2") as cluster:
            results += [await runner.run(row, tell) for row in notice.rows(cluster)]
    if "plan" in groups:
        tell("starting a cluster of its own")
        async with running("--bus", "peer-to-peer") as cluster:
            results += [await runner.run(row, tell) for row in plan.rows(cluster)]
    if "mime" in groups:
        results += [await runner.run(row, tell) for row in mime.rows()]
    if "auth" in groups:
        results += await measure_auth(tell)
    if "start" in groups:
        folder = start_up.new_folder()
        results += [await runner.run(row, tell) for row in start_up.rows(folder)]
        shutil.rmtree(folder.parent, ignore_errors=True)
    results += await _beside_others(groups, tell, only)
    if set(groups) & {"storage", "sizes", "lookup", "search", "blobs", "moves"}:
        with embedded() as server:
            if "storage" in groups:
                results += await measure_storage(server, tell)
            if "sizes" in groups:
                results += await measure_sizes(server, SIZES, tell)
            if "lookup" in groups:
                results += await measure_lookups(server, tell)
            if "blobs" in groups:
                results += await measure_blobs(server, tell)
            if "moves" in groups:
                for messages in (10_000, 100_000):
                    async with stocked(server, 1, Shape(messages)) as stock, moves.rows(stock, messages) as found:
                        results += [await runner.run(row, tell) for row in found]
            if "search" in groups:
                tell("filling and indexing")
                async with search.libraries(server) as rows:
                    results += [await runner.run(row, tell) for row in rows]
    if "large" in groups:
        with postgres_server(**(sized() | FILLED_FAST)) as server:
            results += await measure_sizes(server, [(accounts, LARGE)], tell)
    return results


async def measure_auth(tell: Tell) -> list[runner.Result]:
    """Who sent a message, and who is kept out."""
    results = [await runner.run(row, tell) for row in auth.rows()]
    tell("starting a cluster of two nodes")
    async with running("--nodes", "2", *bans.OPTIONS) as cluster:
        return results + [await runner.run(row, tell) for row in bans.rows(cluster)]


async def measure_storage(server: str, tell: Tell) -> list[runner.Result]:
    """The storage library alone, on databases of its own."""
    results = []
    async with stocked(server, 1_000, Shape(10)) as stock:
        for row in storage.delivery_rows(stock):
            results.append(await runner.run(row, tell))
    async with stocked(server, 1, Shape(10)) as stock:
        for row in queue.rows(stock):
            results.append(await runner.run(row, tell))
    async with stocked(server, 1, Shape(storage.LISTED)) as stock:
        for row in storage.reading_rows(stock):
            results.append(await runner.run(row, tell))
    return results


async def measure_sizes(server: str, others: Sequence[tuple[int, Shape]], tell: Tell) -> list[runner.Result]:
    """The same operations in databases of several sizes."""
    results = []
    async with stocked(server, 1_000, Shape(10)) as base:
        tell("settling")
        await sizes.settle(base)
        for accounts, shape in others:
            tell(f"filling {accounts:,} accounts with {shape.messages:,} messages each")
            async with stocked(server, accounts, shape, tell) as other:
                tell("settling")
                await sizes.settle(other)
                for row in sizes.rows(base, other, f"{accounts:,} x {shape.messages:,}", "1,000 x 10"):
                    results.append(await runner.run(row, tell))
    return results


async def measure_lookups(server: str, tell: Tell) -> list[runner.Result]:
    """The lookup store over each of its back ends."""
    databases = Databases(server, migrate)
    try:
        with redis_server() as redis, databases.fresh() as dsn:
            async with lookup.opened(dsn, redis.url) as rows:
                return [await runner.run(row, tell) for row in rows]
    finally:
        databases.close()


async def measure_blobs(server: str, tell: Tell) -> list[runner.Result]:
    """Blobs in a real S3 server."""
    databases = Databases(server, migrate)
    try:
        with s3_server() as s3, databases.fresh() as dsn:
            async with blobs.opened(dsn, s3) as rows:
                return [await runner.run(row, tell) for row in rows]
    finally:
        databases.close()


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="make bench", epilog="example: make bench ARGS='smtp imap'")
    said = f"{', '.join(GROUPS)}; and only when named: {', '.join(ON_REQUEST)}"
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"which rows (default: all): {said}")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="of smtp-in, smtp-out and imap the rows with this in their titles"
    )
    parser.add_argument("--accounts", type=int, default=ACCOUNTS, help=f"of the group large (default: {ACCOUNTS:,})")
    arguments = parser.parse_args()
    groups = arguments.groups or list(GROUPS)
    if unknown := set(groups) - {*GROUPS, *ON_REQUEST}:
        parser.error(f"unknown group {unknown.pop()}: the groups are {said}")
    spare_what_stays()  # as every service does
    results = uvloop.run(measure(groups, arguments.only, arguments.accounts))
    print(runner.table(results))
    print(f"\nfigures of each run: {runner.save(results, RESULTS)}")


if __name__ == "__main__":
    main()
