"""`posthorn node list`: every process of the cluster, as the node table has it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_model.cluster import Process

EPILOG = "Example: posthorn node list --config node.toml --json"


def list_(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also those that left or died.")] = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """List the nodes of the cluster with their services, machines, regions and states."""
    found = run(Door(data, dsn, config), lambda storage: storage.nodes.all())
    shown = [each for each in found if every or each.live]
    print(json.dumps([as_value(each) for each in shown]) if as_json else "\n".join(line(each) for each in shown))


def state_of(process: Process) -> str:
    """Its own word, "dead" when its heartbeat is missing, "to drain" until it hears of that wish."""
    if not process.live and process.state != "left":
        return "dead"
    return "to drain" if process.wish and process.state not in ("draining", "left") else process.state


def machine_of(process: Process) -> str:
    """The machine it runs on, as that calls itself."""
    return str(process.address.get("host", ""))


def as_value(process: Process) -> dict[str, Any]:
    """For --json."""
    return {
        "node": process.node,
        "service": process.service,
        "boot": process.boot,
        "host": machine_of(process),
        "hostname": process.hostname,
        "region": process.region,
        "state": state_of(process),
        "load": round(process.load, 3),
        "started_at": process.started_at.isoformat(),
        "seen_at": process.seen_at.isoformat(),
    }


def line(process: Process) -> str:
    """One row of the table."""
    where = f"{machine_of(process):<24} {process.region or '-':<12}"
    return f"{process.node:>5}  {process.service:<12} {where} {state_of(process)}"
