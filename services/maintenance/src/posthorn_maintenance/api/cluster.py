"""GET /api/cluster: nodes, services, roles, queue shards, and the state of the bus as this process sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

from posthorn_assembly.agreement import disagreements
from posthorn_bus import role_keys
from posthorn_maintenance.duties import ROLES
from posthorn_model.cluster import Process
from posthorn_model.ids import Epoch
from posthorn_model.ports import Bus, BusHealth
from posthorn_storage import Storage

Holders = Mapping[str, tuple[str, Epoch, float]]


async def describe(
    name: str,
    storage: Storage,
    bus: Bus,
    eligible: Mapping[str, Sequence[Any]],
    shards: int,
    echo: Mapping[str, Any] | None = None,
    notices: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The whole answer; `echo` is what the latest echo test of this process found, `notices` what processes said.

    Raises Unavailable.
    """
    processes = await storage.nodes.all()
    roles = await storage.leases.holders("role/")
    queue = await storage.leases.holders("queue/")
    depth = await storage.queue.standings()
    node_of = {process.boot: process.node for process in processes}
    return {
        "name": name,
        "nodes": nodes(processes),
        "roles": [_role(role, eligible.get(role, ()), roles, node_of) for role in ROLES if role in eligible],
        "role_problems": await storage.roles.problems(),
        "disagreements": disagreements(processes),
        "shards": [{"shard": n, **_holder(queue.get(f"queue/{n}"), node_of)} for n in range(shards)],
        "queue": {state.name.lower(): count for state, count in depth.items()},
        "bus": {**_bus(bus.health()), "echo": echo, "notices": list(notices)},
    }


def _bus(health: BusHealth) -> dict[str, Any]:
    heard = sorted(health.heard.items())
    return {
        "kind": health.kind,
        "connected": health.connected,
        "detail": health.detail,
        "published": health.published,
        "received": health.received,
        "skipped": health.skipped,
        "dropped": health.dropped,
        "gaps": health.gaps,
        "lag": {"events": health.lag_events, "seconds": round(health.lag_seconds, 3)},
        "heard": [{"node": node, "seconds": round(seconds, 3)} for node, seconds in heard],
    }


def nodes(processes: Sequence[Process]) -> list[dict[str, Any]]:
    """The nodes with their processes; a node is live when one of its processes is."""
    found: dict[int, dict[str, Any]] = {}
    for process in processes:
        node = found.setdefault(
            process.node, {"id": process.node, "region": process.region, "live": False, "services": []}
        )
        node["live"] = node["live"] or process.live
        node["services"].append(
            {
                "service": process.service,
                "state": process.state if process.live or process.state == "left" else "dead",
                "live": process.live,
                "boot": process.boot,
                "hostname": process.hostname,
                "load": round(process.load, 3),
                "started": process.started_at.isoformat(),
                "seen": process.seen_at.isoformat(),
                "health": process.address.get("health"),
            }
        )
    return [found[node] for node in sorted(found)]


def _role(role: str, eligible: Sequence[Any], holders: Holders, node_of: Mapping[str, int]) -> dict[str, Any]:
    keys = role_keys(role, eligible)
    parts = [{"key": key, "eligible": sorted(ids), **_holder(holders.get(key), node_of)} for key, ids in keys.items()]
    return {"role": role, "parts": parts}


def _holder(found: tuple[str, Epoch, float] | None, node_of: Mapping[str, int]) -> dict[str, Any]:
    if found is None:
        return {"node": None, "boot": None, "epoch": 0, "held": False}
    owner, epoch, left = found
    return {"node": node_of.get(owner) if left > 0 else None, "boot": owner, "epoch": epoch, "held": left > 0}
