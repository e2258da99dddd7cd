"""topology.toml as it is written (docs/topologies.md): tables, their keys and all mistakes at once.

It is read by the same reader as settings files, so that a mistake is told with its line and the nearest right word.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.topology.topology import Balancer, Node, NodePorts, Topology, pools_of
from posthorn_model.cluster import SERVICES
from posthorn_node.settings import Section, SettingsError, load, refused, validate

MAX_NODES = 10_000
MAX_ID = 1_000_000
ServiceName = Literal["smtp-in", "smtp-out", "imap", "jmap", "dav", "maintenance"]
assert get_args(ServiceName) == SERVICES
Word = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$")]
"""A name that may be part of a host name."""
Region = Annotated[str, Field(pattern=r"^([a-z]([a-z0-9-]{0,25}[a-z0-9])?)?$")]


def _each_once(services: tuple[str, ...]) -> tuple[str, ...]:
    if not services or len(set(services)) != len(services):
        raise refused("names a service twice" if services else f"names no service: there are {', '.join(SERVICES)}")
    return services


Services = Annotated[tuple[ServiceName, ...], Field(max_length=len(SERVICES)), AfterValidator(_each_once)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,253}[A-Za-z0-9])?$")]
Weight = Annotated[int, Field(ge=1, le=100)]
Port = Annotated[int, Field(ge=1, le=65_535)]
OptionalPort = Annotated[int, Field(ge=0, le=65_535)]
NodeNumber = Annotated[int, Field(ge=1, le=MAX_ID)]


class NodeEntry(Section):
    """[[node]]: one node with an id of its own."""

    id: NodeNumber
    services: Services
    region: Region = ""
    weight: Weight = 1
    host: Host | None = None


class PoolEntry(Section):
    """[[pool]]: nodes alike; their ids are the lowest that nothing else in the file has."""

    name: Word
    services: Services
    replicas: Annotated[int, Field(ge=1, le=1000)]
    region: Region = ""
    weight: Weight = 1
    hosts: Annotated[tuple[Host, ...], Field(max_length=1000)] = ()

    @model_validator(mode="after")
    def _one_host_each(self) -> Self:
        if self.hosts and len(self.hosts) != self.replicas:
            raise refused(f"{len(self.hosts)} hosts for {self.replicas} replicas: name one for each", "hosts")
        return self


class ListenPorts(Section):
    """[balancer.ports]: where the balancer listens; 0: not at all."""

    smtp: OptionalPort = 25
    submission: OptionalPort = 587
    submissions: OptionalPort = 465
    imap: OptionalPort = 143
    imaps: OptionalPort = 993
    pop3: OptionalPort = 0
    http: OptionalPort = 80
    https: OptionalPort = 443


class BalancerEntry(Section):
    """[balancer]. With `certificate` (a PEM file with its key, on the balancer) it ends TLS for HTTP only."""

    regions: Annotated[tuple[Word, ...], Field(max_length=100)] = ()
    certificate: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_./-]{1,250})?$")] = ""
    bind: Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9.:]{1,64})$")] = "*"
    ports: ListenPorts = ListenPorts()


class PortsEntry(Section):
    """[ports]: where the services of a node listen on its machine; the defaults are those of the containers."""

    smtp: Port = 2525
    submission: Port = 2587
    submissions: Port = 2465
    imap: Port = 2143
    imaps: Port = 2993
    pop3: Port = 2110
    jmap: Port = 8081
    dav: Port = 8082
    api: Port = 8083
    health: Port = 9090
    """Of the first service of a machine; the others have the ports after it, in the order of the services."""


class TopologyFile(Section):
    """The whole file."""

    name: Word
    about: Annotated[str, Field(max_length=200)] = ""
    node: tuple[NodeEntry, ...] = ()
    pool: Annotated[tuple[PoolEntry, ...], Field(max_length=1000)] = ()
    ports: PortsEntry = PortsEntry()
    balancer: BalancerEntry = BalancerEntry()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        count = len(self.node) + sum(pool.replicas for pool in self.pool)
        if not 1 <= count <= MAX_NODES:
            raise refused(f"{count} nodes: describe 1 to {MAX_NODES}, as [[node]] or as [[pool]] with replicas", "pool")
        for key, names in (("node", [str(n.id) for n in self.node]), ("pool", [p.name for p in self.pool])):
            twice = [name for name, times in Counter(names).items() if times > 1]
            if twice:
                raise refused(f"{twice[0]} is there twice", key)
        there = {node.region for node in self.node} | {pool.region for pool in self.pool}
        nowhere = [region for region in self.balancer.regions if region not in there]
        if nowhere:
            raise refused(f"a balancer stands in {nowhere[0]}, where no node is", "balancer")
        return self


def read(path: Path) -> Topology:
    """Read a description. Raises ClusterError with every mistake, one per line."""
    try:
        found: TopologyFile = validate(load(path, {}), {"": TopologyFile})[""]
    except SettingsError as error:
        raise ClusterError(f"the description of the topology is wrong:\n{error}", code=2) from None
    return _topology(found)


def _topology(file: TopologyFile) -> Topology:
    nodes = [
        Node(entry.id, _ordered(entry.services), entry.region, entry.weight, entry.host or "") for entry in file.node
    ]
    taken = {node.id for node in nodes}
    free = (number for number in range(1, MAX_ID + 1) if number not in taken)
    for pool in file.pool:
        hosts = pool.hosts or ("",) * pool.replicas
        services = _ordered(pool.services)
        nodes += [Node(next(free), services, pool.region, pool.weight, host, pool.name) for host in hosts]
    nodes.sort(key=lambda node: node.id)
    balancer = Balancer(
        file.balancer.regions or ("",),
        file.balancer.certificate,
        file.balancer.bind,
        {name: port for name, port in file.balancer.ports.model_dump(by_alias=True).items() if port},
    )
    ports = file.ports.model_dump(by_alias=True)
    health = ports.pop("health")
    return Topology(file.name, file.about, tuple(nodes), pools_of(nodes), balancer, NodePorts(ports, health))


def _ordered(services: tuple[str, ...]) -> tuple[str, ...]:
    """In the order of SERVICES, so that two descriptions of the same are the same."""
    return tuple(service for service in SERVICES if service in services)
