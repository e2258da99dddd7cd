"""Two nodes behind HAProxy and nginx at the same time, from files that `posthorn topology render` made."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from posthorn_ctl.embedded import ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.balancers import balancer
from posthorn_testkit.cluster import ClusterUnderTest, posthorn, running_cluster
from posthorn_testkit.programs import folder_of_server
from posthorn_testkit.strict import missing

FRONT = ("smtp", "submission", "submissions", "imap", "imaps", "http")
PROXIED = ("smtp", "submission", "submissions", "imap", "imaps", "jmap")
NODES = '[[pool]]\nname = "all"\nservices = ["smtp-in", "imap", "jmap"]\nreplicas = {replicas}\n'
SETTINGS = [
    *(f'server.listener.{name}.proxy-networks=["127.0.0.1/32"]' for name in PROXIED),
    'auth.throttle.address="3/1h"',
]


@dataclass(frozen=True, slots=True)
class Front:
    """A balancer before the cluster, and its ports by protocol."""

    kind: str
    ports: dict[str, int]


def description(folder: Path, replicas: int, listen: dict[str, int]) -> Path:
    """Write topology.toml for so many nodes behind a balancer with these ports."""
    chosen = "\n".join(f"{name} = {port}" for name, port in (dict.fromkeys(FRONT, 0) | listen).items())
    path = folder / f"topology-{replicas}-{listen.get('smtp', 0)}.toml"
    path.write_text(
        f'name = "balanced"\n{NODES.format(replicas=replicas)}'
        f'[balancer]\nbind = "127.0.0.1"\n[balancer.ports]\n{chosen}\n'
    )
    return path


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterUnderTest]:
    options = [word for each in SETTINGS for word in ("--set", each)]
    with folder_of_server("balancers") as folder:
        topology = description(folder, 2, {})
        with running_cluster(
            folder / "data", "--topology", str(topology), "--bus", "peer-to-peer", *options
        ) as running:
            yield running


@contextmanager
def in_front_of(cluster: ClusterUnderTest, kind: str, described: Callable[[dict[str, int]], Path]) -> Iterator[Front]:
    """A balancer before the cluster, as `described` with its ports. Raises PartError."""
    listen = dict(zip(FRONT, ports.free_ports(len(FRONT)), strict=True))
    to = cluster.folder / f"{kind}-{listen['smtp']}"
    done = posthorn(
        *("topology", "render", str(described(listen)), "--form", kind, "--to", str(to)),
        *("--data", str(cluster.folder), "--json"),
    )
    assert done.returncode == 0, done.stderr
    with balancer(kind, Path(json.loads(done.stdout)[0]), list(listen.values())):
        yield Front(kind, listen)


@pytest.fixture(scope="session")
def fronts(cluster: ClusterUnderTest) -> Iterator[list[Front]]:
    """Both balancers. Without one of them the tests are skipped, or fail where that is asked for."""
    with ExitStack() as stack:
        try:
            yield [
                stack.enter_context(in_front_of(cluster, kind, partial(description, cluster.folder, 2)))
                for kind in ("haproxy", "nginx")
            ]
        except PartError as error:
            missing(str(error))


@pytest.fixture
def northern_fronts(cluster: ClusterUnderTest) -> Iterator[list[Front]]:
    """Both balancers in region north, where node 1 is; node 2 is in the south."""

    def described(listen: dict[str, int]) -> Path:
        path = description(cluster.folder, 2, listen)
        text = path.read_text().replace("[balancer]\n", '[balancer]\nregions = ["north"]\n')
        nodes = [
            f'[[node]]\nid = {number}\nregion = "{region}"\nservices = ["smtp-in", "imap", "jmap"]\n'
            for number, region in ((1, "north"), (2, "south"))
        ]
        path.write_text(text.replace(NODES.format(replicas=2), "".join(nodes)))
        return path

    with ExitStack() as stack:
        try:
            yield [stack.enter_context(in_front_of(cluster, kind, described)) for kind in ("haproxy", "nginx")]
        except PartError as error:
            missing(str(error))
