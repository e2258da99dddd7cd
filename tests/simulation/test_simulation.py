"""The ownership and election code of the product in clusters of a thousand nodes, on a virtual clock and network.

This is the short form; `make simulate` runs a thousand seeds. What fails names its seed, which gives the same again:
`python -m tests.simulation.simulate --seeds 1 --first SEED`.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Collection, Iterator

import pytest
from tests.simulation.checker import misplaced
from tests.simulation.lease_table import LeaseTable
from tests.simulation.simulate import simulate, traffic
from tests.simulation.world import SHARDS, TIMES, World

from posthorn_model.ids import Epoch

KEYS = len(SHARDS) + 5
"""Of the roles one is cut in two."""
SEEDS = range(60, 100)
"""Forty; in the last of them every one of the thousand nodes runs."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of lost leases are the point here, not news."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_never_two_owners_and_all_is_owned_after_the_faults() -> None:
    outcomes = [simulate(seed) for seed in SEEDS]
    assert {outcome.seed: outcome.wrong for outcome in outcomes if outcome.wrong} == {}
    # It was a trial: there were faults, keys changed hands, and owners wrote when it was too late.
    assert all(outcome.faults and outcome.writes for outcome in outcomes)
    assert sum(outcome.epochs for outcome in outcomes) > KEYS * len(outcomes)
    assert sum(outcome.refused for outcome in outcomes) > 0
    assert outcomes[-1].processes >= 1000


def test_what_a_killed_owner_had_is_owned_again_when_its_lease_ends_and_goes_back_to_it() -> None:
    world = World(5, 40, everybody=True)
    world.loop.run_until(30.0)
    name = world.owners()["queue/3"][0].name
    had = [key for key, owners in world.owners().items() if owners[0].name == name]
    ends = max(world.table.rows[key].until for key in had)
    world.crash(name)
    world.loop.run_until(ends - 0.01)
    assert not any(world.owners()[key] for key in had)
    # It is still proposed to the dead.
    assert {world.proposed()[key] for key in had} == {name}
    world.loop.run_until(ends + TIMES.ttl / 10)
    assert all(world.owners()[key] for key in had)
    world.come_back(name)
    world.loop.run_until(ends + 3 * TIMES.ttl)
    assert misplaced(world) == []


class NeverFree(LeaseTable):
    """A planted fault: what a dead owner held is never anybody else's."""

    def acquire(self, keys: Collection[str], owner: str, ttl: float) -> dict[str, Epoch]:
        free = [key for key in keys if key not in self.rows or self.rows[key].owner == owner]
        return super().acquire(free, owner, ttl)


@pytest.mark.parametrize(
    ("table", "found"),
    [
        (lambda: LeaseTable(lambda: 0.0, fencing=False), "after Write("),
        (lambda: LeaseTable(lambda: 0.0, counting=False), " and of "),
        (lambda: NeverFree(lambda: 0.0), "is owned by []"),
    ],
    ids=["writes without a fence", "owners without a new epoch", "leases that never end"],
)
def test_a_planted_fault_is_found(table: type[LeaseTable], found: str) -> None:
    for seed in SEEDS:
        outcome = simulate(seed, table=table())  # type: ignore[call-arg]
        if any(found in wrong for wrong in outcome.wrong):
            return
    pytest.fail("the fault was not found")


def test_a_seed_gives_the_same_again_in_any_process() -> None:
    ask = "from tests.simulation.simulate import simulate; print(simulate(61))"
    told = [
        subprocess.run(
            [sys.executable, "-c", ask],
            env={**os.environ, "PYTHONHASHSEED": number},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for number in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0].startswith("Outcome(seed=61, wrong=(), ")
    assert simulate(62) != simulate(61)


def test_messages_of_a_node_do_not_grow_with_the_cluster() -> None:
    small, large = traffic(20, seconds=30.0), traffic(200, seconds=30.0)
    assert 0 < large.statements <= small.statements
    assert large.events_sent <= 0.01
    assert large.events_heard <= 0.01
