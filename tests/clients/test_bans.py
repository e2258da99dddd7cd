"""A banned address is refused by every service of every node, before TLS and before a word of the protocol."""

import socket
import time
from collections.abc import Callable

import pytest

from posthorn_testkit.cluster import ClusterUnderTest, posthorn

pytestmark = pytest.mark.cluster
BANNED, OTHER = "127.0.0.9", "127.0.0.8"
DOORS = ("submission", "submissions", "smtp", "imap", "imaps", "pop3", "managesieve", "jmap", "dav")
PATIENCE = 60.0


def is_let_in(address: tuple[str, int], source: str) -> bool:
    """Whether a client that says nothing, or half a request, is kept waiting or greeted."""
    with socket.create_connection(address, timeout=1.0, source_address=(source, 0)) as client:
        try:
            client.sendall(b"")
            found = client.recv(200)
        except TimeoutError:
            return True
        except ConnectionResetError:
            return False
    return bool(found) and not found.startswith(b"421 ")


def wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what


def test_every_door_of_both_nodes(cluster: ClusterUnderTest) -> None:
    data = ("--data", str(cluster.folder))
    offered = {each["protocol"] for each in cluster.description["endpoints"]}
    doors = [cluster.address(each, node) for each in DOORS if each in offered for node in (1, 2)]
    assert len(doors) >= 8
    assert posthorn("ban", "add", BANNED, "--for", "10m", *data).returncode == 0
    try:
        for door in doors:
            wait(lambda door=door: not is_let_in(door, BANNED), f"{door} lets it in")  # type: ignore[misc]
        assert is_let_in(doors[0], OTHER)
    finally:
        assert posthorn("ban", "remove", BANNED, *data).returncode == 0
    wait(lambda: is_let_in(doors[0], BANNED), "the ban is lifted")
