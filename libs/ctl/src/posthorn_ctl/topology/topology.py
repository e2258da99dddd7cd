"""The nouns of a topology: nodes, pools of nodes alike, the balancer before them. Values only; no file is read here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from posthorn_model.cluster import SERVICES

MAX_NAME = 30
"""Of a pool: the Helm chart makes names of Kubernetes from it."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node. `host` is how others reach its machine; "" where nothing says so. `pool` is "" for one on its own."""

    id: int
    services: tuple[str, ...]
    region: str = ""
    weight: int = 1
    host: str = ""
    pool: str = ""

    @property
    def address(self) -> str:
        """The host, or the name that a node without one has by convention."""
        return self.host or f"node{self.id}"


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes alike, in the order of their ids."""

    name: str
    nodes: tuple[Node, ...]

    @property
    def services(self) -> tuple[str, ...]:
        return self.nodes[0].services

    @property
    def region(self) -> str:
        return self.nodes[0].region

    @property
    def weight(self) -> int:
        return self.nodes[0].weight


@dataclass(frozen=True, slots=True)
class Balancer:
    """`regions` are the places it stands at, "" for one that prefers none; `ports` by protocol, only those it opens."""

    regions: tuple[str, ...]
    certificate: str
    bind: str
    ports: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class NodePorts:
    """Where services listen on their machine: `listeners` by protocol."""

    listeners: Mapping[str, int]
    first_health: int

    def health(self, service: str) -> int:
        return self.first_health + SERVICES.index(service)


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole description. `nodes` are ordered by id; `pools` hold the same nodes."""

    name: str
    about: str
    nodes: tuple[Node, ...]
    pools: tuple[Pool, ...]
    balancer: Balancer
    ports: NodePorts

    def pools_with(self, service: str) -> list[Pool]:
        """The pools that run a service, in their order."""
        return [pool for pool in self.pools if service in pool.services]

    @property
    def services(self) -> tuple[str, ...]:
        """Every service that some node runs."""
        return tuple(service for service in SERVICES if self.pools_with(service))


def pools_of(nodes: Iterable[Node]) -> tuple[Pool, ...]:
    """The nodes by their pools; those without one are put together where they are alike, under a name made of that."""
    found: dict[tuple[str, tuple[str, ...], str, int], list[Node]] = {}
    for node in nodes:
        found.setdefault((node.pool, node.services, node.region, node.weight), []).append(node)
    taken = {pool for pool, *_ in found}
    pools = []
    for (given, services, region, weight), members in found.items():
        name = given
        if not name:
            name = _made_name(services, region, weight, members[0].id)
            while name in taken:
                name += "-x"
            taken.add(name)
        pools.append(Pool(name, tuple(members)))
    return tuple(pools)


def _made_name(services: tuple[str, ...], region: str, weight: int, first: int) -> str:
    what = "all" if services == SERVICES else "-".join(services)
    name = "-".join([*([region] if region else []), what, *([f"w{weight}"] if weight > 1 else [])])
    return name if len(name) <= MAX_NAME else f"node{first}"
