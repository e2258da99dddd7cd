"""Who may run a cluster role, and the election that lets exactly one of them do it.

A role names the nodes that may hold it: a list of node ids, empty for any node. A list of lists shards the role: part
`i` is elected by itself among the nodes of list `i`. One list in a list is the role as a whole, so that nodes whose
settings say it in different ways still have one holder.
"""

from collections.abc import Mapping, Sequence

from posthorn_bus.leases import LeaseKeeper
from posthorn_bus.ownership import Owner, Run
from posthorn_model.events import Topic
from posthorn_model.ids import NodeId
from posthorn_model.ports import Bus

CONTEND_SECONDS = 0.2
"""So long a role that was given back is left to the process it is proposed to; then whoever stands by may take it."""
Eligible = Sequence[int] | Sequence[Sequence[int]]


def role_keys(role: str, eligible: Eligible) -> Mapping[str, frozenset[int]]:
    """The keys of a role ("role/purge.stores", or "role/purge.stores/0" and so on) and the nodes of each."""
    parts = [part for part in eligible if not isinstance(part, int)]
    if len(parts) == 1:
        return {f"role/{role}": frozenset(parts[0])}
    if parts:
        return {f"role/{role}/{number}": frozenset(part) for number, part in enumerate(parts)}
    return {f"role/{role}": frozenset(node for node in eligible if isinstance(node, int))}


def eligible_keys(roles: Mapping[str, Eligible], node: NodeId) -> tuple[str, ...]:
    """The keys that `node` may hold, of all roles."""
    keys = {key: nodes for role, eligible in roles.items() for key, nodes in role_keys(role, eligible).items()}
    return tuple(sorted(key for key, nodes in keys.items() if not nodes or node in nodes))


def role_of(key: str) -> tuple[str, int | None]:
    """The role's name and the number of its part of a role key."""
    name, _, part = key.removeprefix("role/").partition("/")
    return name, int(part) if part else None


def election(bus: Bus, keeper: LeaseKeeper, node: NodeId, roles: Mapping[str, Eligible], run: Run) -> Owner:
    """An Owner of the roles that `node` may hold; `run` is started for each role (or part) it is elected to."""
    return Owner(bus, keeper, node, Topic.ROLES, eligible_keys(roles, node), run, contend=CONTEND_SECONDS)
