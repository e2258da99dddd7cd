"""A cluster of two nodes that is made to suffer, one for all tests of a module."""

import os
import secrets
from collections.abc import Callable, Iterator

import pytest
from tests.faults.couriers import Target
from tests.faults.nemesis import Nemesis

from posthorn_testkit.cluster import ClusterUnderTest, posthorn, running_cluster
from posthorn_testkit.programs import folder_of_server

RETRY = 'smtp-out.retry=["1s"]'
"""So that what waits in the queue is tried again while somebody watches."""
ACCOUNTS = 12
"""Made at once, since the command takes longer to start than to make some of them."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterUnderTest]:
    with folder_of_server("faults") as folder, running_cluster(folder / "data", "--nodes", "2", "--set", RETRY) as made:
        yield made
        # Whatever was killed when: no count is off, no message without its blob, no change that was not told.
        checked = posthorn("check", "--content", "--data", str(made.folder))
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def new_accounts(cluster: ClusterUnderTest) -> Callable[[int], list[Target]]:
    """Some accounts that nobody else uses, made in larger numbers than they are asked for."""
    left: list[Target] = []

    def some(count: int) -> list[Target]:
        if len(left) < count:
            made = [Target(f"f{secrets.token_hex(6)}@example.org", secrets.token_hex(8)) for _ in range(ACCOUNTS)]
            lines = "".join(f"{each.name} {each.password}\n" for each in made)
            done = posthorn("account", "add", "--from", "-", "--data", str(cluster.folder), text=lines)
            assert done.returncode == 0, done.stdout + done.stderr
            left.extend(made)
        return [left.pop() for _ in range(count)]

    return some


@pytest.fixture
def nemesis(cluster: ClusterUnderTest) -> Nemesis:
    """A nemesis with a seed of this run's own, shown when the test fails; POSTHORN_TEST_SEED gives that one again."""
    return Nemesis(cluster, int(os.environ.get("POSTHORN_TEST_SEED") or secrets.randbelow(1_000_000)))
