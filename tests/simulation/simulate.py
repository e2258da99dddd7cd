"""Simulations by seed, and the whole run of `make simulate`: `python -m tests.simulation.simulate --seeds 1000`."""

import argparse
import gc
import logging
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulation import faults
from tests.simulation.checker import misplaced, two_owners, unowned
from tests.simulation.lease_table import LeaseTable
from tests.simulation.world import SHORT, TIMES, World

NODES = 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one seed. `wrong` says what must not be; empty: all is as it must be."""

    seed: int
    wrong: tuple[str, ...]
    faults: tuple[str, ...]
    writes: int
    refused: int
    """Late writes that the table did not let through."""
    epochs: int
    """How often a key was taken, all keys together."""
    processes: int
    """Processes that ran, of all members."""
    steps: int


def simulate(seed: int, nodes: int = NODES, *, table: LeaseTable | None = None) -> Outcome:
    """One simulation, from its beginning to some time after all faults are over.

    In every hundredth seed all members run, also those that are proposed nothing; every third has the shortest
    leases there may be. `table` is for a planted fault.
    """
    world = World(seed, nodes, everybody=seed % 100 == 99, table=table, times=TIMES if seed % 3 else SHORT)
    told = faults.plan(world)
    world.loop.run_until(faults.end(world))
    wrong = [*two_owners(world.table.log), *unowned(world), *misplaced(world), *world.loop.errors]
    return Outcome(
        seed=seed,
        wrong=tuple(wrong),
        faults=tuple(told),
        writes=len(world.table.log),
        refused=world.table.refused,
        epochs=sum(row.epoch for row in world.table.rows.values()),
        processes=world.lives,
        steps=world.loop.steps,
    )


@dataclass(frozen=True, slots=True)
class Traffic:
    """Messages of a quiet cluster, per node and second."""

    nodes: int
    statements: float
    events_sent: float
    events_heard: float


def traffic(nodes: int, seconds: float = 60.0) -> Traffic:
    """Every member runs; measured after the keys have found their owners."""
    world = World(1, nodes, everybody=True)
    world.loop.run_until(30.0)
    before = world.table.statements, world.network.sent, world.network.delivered
    world.loop.run_until(30.0 + seconds)
    after = world.table.statements, world.network.sent, world.network.delivered
    rates = [(now - then) / nodes / seconds for now, then in zip(after, before, strict=True)]
    return Traffic(nodes, *rates)


def _worker(seeds: Sequence[int]) -> list[Outcome]:
    logging.disable(logging.CRITICAL)
    gc.disable()
    found = []
    for seed in seeds:
        found.append(simulate(seed))
        gc.collect()
    return found


def main() -> int:
    """Run all seeds on all cores and print what was seen; 1 when a seed failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed; a failed one is run again by its number")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    began = time.monotonic()
    portions = [seeds[start : start + 10] for start in range(0, len(seeds), 10)]
    outcomes: list[Outcome] = []
    with multiprocessing.Pool(arguments.processes) as pool:
        for portion in pool.imap(_worker, portions):
            outcomes.extend(portion)
            for outcome in portion:
                if outcome.wrong:
                    print(f"seed {outcome.seed} FAILED", *outcome.wrong, "after", *outcome.faults, sep="\n  ")
    took = time.monotonic() - began
    failed = [outcome.seed for outcome in outcomes if outcome.wrong]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{len(outcomes)} seeds of {NODES} nodes in {took:.1f} s, {len(outcomes) / took:.1f} a second; "
        f"{used.ru_utime + used.ru_stime:.1f} s of processor time"
    )
    print(
        f"{sum(o.writes for o in outcomes)} writes counted, {sum(o.refused for o in outcomes)} late ones refused, "
        f"{sum(o.epochs for o in outcomes)} times a key was taken, {sum(len(o.faults) for o in outcomes)} faults, "
        f"{sum(o.processes for o in outcomes)} processes, {sum(o.steps for o in outcomes)} steps"
    )
    print(f"failed seeds: {failed or 'none'}")
    print("messages per node and second of a quiet cluster (every member runs, 60 s):")
    logging.disable(logging.CRITICAL)
    for nodes in (10, 100, 1000):
        seen = traffic(nodes)
        print(
            f"  {nodes:5} nodes: {seen.statements:.3f} statements, {seen.events_sent:.3f} events sent, "
            f"{seen.events_heard:.3f} heard"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
