"""A topology as containers: one service in each, so that nodes of several services come apart into groups."""

from dataclasses import dataclass

from posthorn_ctl.topology.topology import Topology
from posthorn_model.cluster import SERVICES


@dataclass(frozen=True, slots=True)
class Group:
    """Containers alike: of one service, in one region, with one weight. `name` is their name in the orchestrator."""

    name: str
    service: str
    region: str
    weight: int
    replicas: int


def groups_of(topology: Topology) -> list[Group]:
    """The groups by service; the first of each service bears its plain name, the others say what sets them apart."""
    counts: dict[tuple[str, str, int], int] = {}
    for service in SERVICES:
        for node in topology.nodes:
            if service in node.services:
                key = (service, node.region, node.weight)
                counts[key] = counts.get(key, 0) + 1
    weights = {weight for _, _, weight in counts}
    found: list[Group] = []
    for (service, region, weight), replicas in counts.items():
        parts = [service]
        if any(group.service == service for group in found):
            parts += [region] if region else []
            parts += [f"weight{weight}"] if len(weights) > 1 else []
        found.append(Group("-".join(parts), service, region, weight, replicas))
    return found
