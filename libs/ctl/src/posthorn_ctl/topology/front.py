"""What a balancer of one place has before it: listening ports, and for each protocol the servers with their weights.

The same for every balancer; how it is written down is said in haproxy.py and nginx.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from posthorn_ctl.topology.groups import Group
from posthorn_ctl.topology.topology import Topology

MAIL = {
    "smtp": "smtp-in",
    "submission": "smtp-in",
    "submissions": "smtp-in",
    "imap": "imap",
    "imaps": "imap",
    "pop3": "imap",
}
"""The service behind each mail protocol that a balancer passes on."""
WEB = {"jmap": "jmap", "dav": "dav", "api": "maintenance"}
LONG_SESSIONS = frozenset({"imap", "imaps", "pop3", "jmap"})
"""Where the server with the fewest connections takes the next; elsewhere they take turns."""
CONTAINER_PORTS = {
    "smtp": 2525,
    "submission": 2587,
    "submissions": 2465,
    "imap": 2143,
    "imaps": 2993,
    "pop3": 2110,
    "jmap": 8081,
    "dav": 8082,
    "api": 8083,
}
CONTAINER_HEALTH = 9090
FRONT_PORTS = {"smtp": 2525, "submission": 2587, "submissions": 2465, "imap": 2143, "imaps": 2993, "http": 8080}
"""Of a balancer in a container; what is published of them is said where it is started."""
SPARE = 16
"""So many servers are looked for at least behind a name, so that a service can be scaled without a new file."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server, or with `count` as many as its host name has addresses. `backup`: only while no other is there."""

    name: str
    host: str
    port: int
    health_port: int
    weight: int = 1
    backup: bool = False
    count: int = 0

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Front:
    """A balancer at one place. `backends` by protocol, only those with servers; `dns` resolves names of containers."""

    topology: str
    place: str
    bind: str
    ports: Mapping[str, int]
    backends: Mapping[str, Sequence[Server]]
    certificate: str = ""
    dns: str = ""

    def mail(self) -> list[str]:
        """The mail protocols that it opens."""
        return [name for name in MAIL if name in self.ports and name in self.backends]

    def web(self) -> list[str]:
        """The protocols below HTTP that it passes on."""
        return [name for name in WEB if name in self.backends]

    def web_default(self) -> str:
        """Where a path goes that says nothing else."""
        return self.web()[0]


def of_machines(topology: Topology, place: str) -> Front:
    """Servers are the machines of the nodes, by their hosts."""
    ports = topology.ports
    backends = {
        protocol: [
            Server(
                f"node{node.id}",
                node.address,
                ports.listeners[protocol],
                ports.health(service),
                node.weight,
                node.region != place,
            )
            for node in topology.nodes
            if service in node.services
        ]
        for protocol, service in (MAIL | WEB).items()
    }
    return _front(topology, place, backends)


def of_containers(topology: Topology, groups: Sequence[Group], place: str, dns: str, prefix: str = "") -> Front:
    """Servers are whatever the DNS server `dns` of the containers' network finds under `prefix` and a group's name."""
    backends = {
        protocol: [
            Server(
                f"{group.name}-",
                f"{prefix}{group.name}",
                CONTAINER_PORTS[protocol],
                CONTAINER_HEALTH,
                group.weight,
                group.region != place,
                max(SPARE, 2 * group.replicas),
            )
            for group in groups
            if group.service == service
        ]
        for protocol, service in (MAIL | WEB).items()
    }
    return Front(topology.name, place, "*", FRONT_PORTS, _served(place, backends), dns=dns)


def of_running(topology: Topology, place: str, content: Mapping[str, Any]) -> Front:
    """Servers are those that cluster.json (docs/cluster-json.md) has; regions and weights are the description's."""
    nodes = {node.id: node for node in topology.nodes}
    health = {(e["node"], e["service"]): e["port"] for e in content["endpoints"] if e["protocol"] == "metrics"}
    backends: dict[str, list[Server]] = {protocol: [] for protocol in MAIL | WEB}
    for each in content["endpoints"]:
        node = nodes.get(each["node"])
        if node is not None and each["protocol"] in backends:
            server = Server(
                f"node{node.id}",
                each["host"],
                each["port"],
                health[node.id, each["service"]],
                node.weight,
                node.region != place,
            )
            backends[each["protocol"]].append(server)
    return _front(topology, place, backends)


def _front(topology: Topology, place: str, backends: Mapping[str, Sequence[Server]]) -> Front:
    balancer = topology.balancer
    opened = {name: port for name, port in balancer.ports.items() if name != "https" or balancer.certificate}
    return Front(topology.name, place, balancer.bind, opened, _served(place, backends), balancer.certificate)


def _served(place: str, backends: Mapping[str, Sequence[Server]]) -> dict[str, Sequence[Server]]:
    """Without those that have no server; nobody is a backup where there is no place, or nothing at it."""
    found: dict[str, Sequence[Server]] = {}
    for name, servers in backends.items():
        if servers and (not place or all(server.backup for server in servers)):
            servers = [replace(server, backup=False) for server in servers]
        if servers:
            found[name] = servers
    return found
