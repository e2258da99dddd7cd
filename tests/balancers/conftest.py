"""Two nodes behind HAProxy and nginx at the same time, from files that `posthorn topology render` made."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from posthorn_ctl.embedded import ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.balancers import balancer
from posthorn_testkit.cluster import ClusterUnderTest, posthorn, running_cluster
from posthorn_testkit.servers import folder_of_server
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


@pytest.fixture(scope="session")
def fronts(cluster: ClusterUnderTest) -> Iterator[list[Front]]:
    """Both balancers. Without one of them the tests are skipped, or fail where that is asked for."""
    with ExitStack() as stack:
        made = []
        for kind in ("haproxy", "nginx"):
            listen = dict(zip(FRONT, ports.free_ports(len(FRONT)), strict=True))
            file = description(cluster.folder, 2, listen)
            to = cluster.folder / kind
            done = posthorn(
                *("topology", "render", str(file), "--form", kind, "--to", str(to)),
                *("--data", str(cluster.folder), "--json"),
            )
            assert done.returncode == 0, done.stderr
            listen.pop("https", None)
            try:
                stack.enter_context(balancer(kind, Path(json.loads(done.stdout)[0]), list(listen.values())))
            except PartError as error:
                missing(str(error))
            made.append(Front(kind, listen))
        yield made
