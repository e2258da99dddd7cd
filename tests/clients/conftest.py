"""One cluster of two nodes for the real clients, and an account of its own for each test."""

import secrets
from collections.abc import Callable, Iterator

import pytest

from posthorn_testkit.cluster import ClusterUnderTest, posthorn, running_cluster
from posthorn_testkit.programs import folder_of_server

POOL = 250


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterUnderTest]:
    with folder_of_server("clients") as folder, running_cluster(folder / "data", "--nodes", "2") as made:
        yield made


@pytest.fixture(scope="session")
def pool(cluster: ClusterUnderTest) -> list[tuple[str, str]]:
    """Accounts nobody has used yet; made in one go."""
    made = [(f"user{number}@example.org", secrets.token_hex(8)) for number in range(POOL)]
    lines = "".join(f"{name} {password}\n" for name, password in made)
    done = posthorn("account", "add", "--from", "-", "--data", str(cluster.folder), text=lines)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def new_account(pool: list[tuple[str, str]]) -> Callable[[], tuple[str, str]]:
    """Name and password of an empty account."""
    return pool.pop


@pytest.fixture
def account(new_account: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    return new_account()
