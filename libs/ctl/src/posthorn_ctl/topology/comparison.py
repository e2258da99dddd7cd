"""Compares a description with the node table: what is missing, too much, or in the wrong region. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from posthorn_ctl.topology.topology import Topology
from posthorn_model.cluster import Process

Kind = Literal["missing", "draining", "extra", "region"]
SERVING = frozenset({"starting", "ready"})


@dataclass(frozen=True, slots=True)
class Difference:
    """`node` is 0 where containers are counted, which have no ids of their own; `count` is then how many."""

    kind: Kind
    service: str
    node: int = 0
    region: str = ""
    found: str = ""
    """The region it runs in, where that is what differs."""
    count: int = 1

    def __str__(self) -> str:
        place = f" in region {self.region}" if self.region else ""
        who = f"node {self.node}: {self.service}" if self.node else f"{self.count} of {self.service}{place}"
        match self.kind:
            case "missing":
                return f"{who} does not run"
            case "draining":
                return f"{who} is leaving"
            case "extra":
                return f"{who} runs and is not described"
            case "region":
                return f"{who} runs in region {self.found or '(none)'}, described is {self.region or '(none)'}"


def by_node(topology: Topology, processes: Iterable[Process]) -> list[Difference]:
    """Node by node, by their ids. Several processes of one service on a node are one."""
    wanted = {(node.id, service): node.region for node in topology.nodes for service in node.services}
    there: dict[tuple[int, str], Process] = {}
    for process in processes:
        key = (int(process.node), process.service)
        if process.live and (key not in there or process.state in SERVING):
            there[key] = process
    found = []
    for (node, service), region in wanted.items():
        runs = there.get((node, service))
        if runs is None:
            found.append(Difference("missing", service, node, region))
        elif runs.state not in SERVING:
            found.append(Difference("draining", service, node, region))
        elif runs.region != region:
            found.append(Difference("region", service, node, region, runs.region))
    for (node, service), process in there.items():
        if (node, service) not in wanted and process.state in SERVING:
            found.append(Difference("extra", service, node, process.region))
    return found


def by_count(topology: Topology, processes: Iterable[Process]) -> list[Difference]:
    """How many of each service serve in each region; ids do not matter. For containers, whose ids are leased."""
    wanted = Counter((service, node.region) for node in topology.nodes for service in node.services)
    there = Counter((p.service, p.region) for p in processes if p.live and p.state in SERVING)
    found = []
    for service, region in sorted(wanted.keys() | there.keys()):
        lacking = wanted[service, region] - there[service, region]
        if lacking:
            kind: Kind = "missing" if lacking > 0 else "extra"
            found.append(Difference(kind, service, region=region, count=abs(lacking)))
    return found
