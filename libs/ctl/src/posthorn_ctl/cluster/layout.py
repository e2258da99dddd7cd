"""Which node runs which service, and at which address each listens: worked out before anything is started.

Pure but for the question whether a port is free. Every address is on loopback.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import DataFolder, read_json, write_whole
from posthorn_ctl.embedded import ports
from posthorn_ctl.topology.topology import Node
from posthorn_model.cluster import SERVICES

PORTS_PER_NODE = 20
MAX_NODES = 200


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener every node with that service has. `protocol` is the contract's word, `spoken` the settings' word."""

    service: str
    protocol: str
    spoken: str
    tls: str


LISTENERS = (
    Listener("smtp-in", "smtp", "smtp", "starttls"),
    Listener("smtp-in", "submission", "submission", "starttls"),
    Listener("smtp-in", "submissions", "submission", "implicit"),
    Listener("smtp-in", "lmtp", "lmtp", "starttls"),
    Listener("imap", "imap", "imap", "starttls"),
    Listener("imap", "imaps", "imap", "implicit"),
    Listener("imap", "pop3", "pop3", "starttls"),
    Listener("imap", "managesieve", "managesieve", "starttls"),
    Listener("jmap", "jmap", "jmap", "none"),
    Listener("dav", "dav", "dav", "none"),
    Listener("maintenance", "api", "api", "none"),
)
_OFFSETS = [
    *(listener.protocol for listener in LISTENERS if listener.protocol != "managesieve"),
    *(f"metrics/{service}" for service in SERVICES),
    "managesieve",
]
"""From a node's first port on, where they are a fixed range: what comes later goes to the end, so that none moves."""
_SCHEMES = {"jmap": "http", "dav": "http", "api": "http", "metrics": "http", "managesieve": "sieve"}
"""Of URLs, where they are not the protocol's own word (RFC 5804 3)."""
_PART_OFFSETS = ("postgres", "kafka", "kafka-controller", "sink")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one service on one node, as cluster.json has it."""

    node: int
    service: str
    protocol: str
    port: int
    tls: str
    host: str = ports.LOOPBACK

    @property
    def url(self) -> str:
        return f"{_SCHEMES.get(self.protocol, self.protocol)}://{self.host}:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node: its services and where they listen."""

    number: int
    services: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    region: str = ""
    """"" for what the settings of all nodes say."""

    def health(self, service: str) -> Endpoint:
        return next(e for e in self.endpoints if e.service == service and e.protocol == "metrics")


@dataclass(frozen=True, slots=True)
class Layout:
    """All nodes, and the ports of the parts beside them."""

    nodes: tuple[NodePlan, ...]
    parts: Mapping[str, int]

    def vitals(self) -> dict[tuple[int, str], Endpoint]:
        """Where each process answers how it does, by node and service."""
        return {(node.number, service): node.health(service) for node in self.nodes for service in node.services}

    def keys(self) -> dict[str, int]:
        """Every port by the name it has in ports.json."""
        found = {f"0/{part}": port for part, port in self.parts.items()}
        for endpoint in (endpoint for node in self.nodes for endpoint in node.endpoints):
            name = f"metrics/{endpoint.service}" if endpoint.protocol == "metrics" else endpoint.protocol
            found[f"{endpoint.node}/{name}"] = endpoint.port
        return found


def services_of_nodes(nodes: int, scale: Mapping[str, int], services: Sequence[str]) -> list[tuple[str, ...]]:
    """The services of node 1, 2, ...: all on each of the first `nodes`, then nodes of their own for what is scaled.

    A service scaled below `nodes` runs on the first ones only; scaled above, each further one is a node that runs
    only it. Raises ClusterError.
    """
    unknown = sorted({*scale, *services} - set(SERVICES))
    if unknown:
        raise ClusterError(f"no service is called {unknown[0]}: there are {', '.join(SERVICES)}", code=2)
    wanted = {service: scale.get(service, nodes) for service in SERVICES if service in services}
    found = [tuple(s for s, count in wanted.items() if number <= count) for number in range(1, nodes + 1)]
    found = [each for each in found if each]
    for service, count in wanted.items():
        found += [(service,)] * (count - nodes)
    if not 1 <= len(found) <= MAX_NODES:
        raise ClusterError(f"{len(found)} nodes: a local cluster has 1 to {MAX_NODES}", code=2)
    return found


def numbered(services: Sequence[tuple[str, ...]]) -> list[Node]:
    """Nodes 1, 2, ... with these services."""
    return [Node(number, own) for number, own in enumerate(services, start=1)]


def laid_out(folder: DataFolder, nodes: Sequence[Node], base: int | None, running: Layout | None = None) -> Layout:
    """Give every listener its port: from `base` on, else the ports kept in ports.json, else free ones.

    What is `running` keeps its ports. Raises ClusterError when a port from `base` on is taken, or nodes are too many.
    """
    if len(nodes) > MAX_NODES:
        raise ClusterError(f"{len(nodes)} nodes: a local cluster has 1 to {MAX_NODES}", code=2)
    keys = [f"0/{part}" for part in _PART_OFFSETS]
    for node in nodes:
        keys += [f"{node.id}/{name.protocol}" for name in LISTENERS if name.service in node.services]
        keys += [f"{node.id}/metrics/{service}" for service in node.services]
    own = running.keys() if running is not None else {}
    chosen = _fixed(keys, base, own) if base is not None else _kept(folder, keys, own)
    plans = tuple(
        NodePlan(node.id, node.services, _endpoints(node.id, node.services, chosen), node.region) for node in nodes
    )
    return Layout(plans, {part: chosen[f"0/{part}"] for part in _PART_OFFSETS})


def _endpoints(number: int, own: tuple[str, ...], chosen: Mapping[str, int]) -> tuple[Endpoint, ...]:
    listeners = [
        Endpoint(number, each.service, each.protocol, chosen[f"{number}/{each.protocol}"], each.tls)
        for each in LISTENERS
        if each.service in own
    ]
    vitals = [Endpoint(number, service, "metrics", chosen[f"{number}/metrics/{service}"], "none") for service in own]
    return (*listeners, *vitals)


def _fixed(keys: Sequence[str], base: int, own: Mapping[str, int]) -> dict[str, int]:
    chosen = {}
    for key in keys:
        number, _, name = key.partition("/")
        offset = _PART_OFFSETS.index(name) if number == "0" else _OFFSETS.index(name)
        chosen[key] = base + int(number) * PORTS_PER_NODE + offset
    if base < 1 or max(chosen.values()) > 65535:
        raise ClusterError(f"--ports {base} leads to ports up to {max(chosen.values())}: choose 1024 to 60000", code=2)
    taken = {key: port for key, port in chosen.items() if key not in own and not ports.is_free(port)}
    if taken:
        shown = ", ".join(
            f"{port} ({key.partition('/')[2]} of node {key.partition('/')[0]})" for key, port in taken.items()
        )
        raise ClusterError(
            f"ports taken by other processes: {shown}: stop those, choose another --ports BASE, "
            "or leave --ports out to use free ones",
            code=3,
        )
    return chosen


def _kept(folder: DataFolder, keys: Sequence[str], own: Mapping[str, int]) -> dict[str, int]:
    kept: dict[str, int] = read_json(folder.ports) or {}
    chosen = {key: own[key] for key in keys if key in own}
    chosen |= {key: kept[key] for key in keys if key not in own and key in kept and ports.is_free(kept[key])}
    missing = [key for key in keys if key not in chosen]
    if missing:
        fresh = ports.free_ports(len(missing), taken=frozenset(kept.values()))
        chosen |= dict(zip(missing, fresh, strict=True))
        write_whole(folder.ports, json.dumps(kept | chosen, indent=1) + "\n", mode=0o644)
    return chosen
