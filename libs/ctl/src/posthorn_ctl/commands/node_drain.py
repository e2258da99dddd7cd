"""`posthorn node drain`: processes finish what they hold, hand over their leases and end, without a signal."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.node_list import as_value, line

if TYPE_CHECKING:
    from posthorn_model.cluster import Process
    from posthorn_storage import Storage

EPILOG = "Example: posthorn node drain 3 --wait --config node.toml   |   posthorn node drain --all-on mail7"
LOOK_SECONDS = 0.5


def drain(
    nodes: Annotated[list[int] | None, typer.Argument(metavar="ID...", help="Nodes, by their ids.")] = None,
    *,
    host: Annotated[
        str | None, typer.Option("--all-on", metavar="HOST", help="All nodes on this machine, by its own name.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until all of them have left.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait at the most.")] = 120.0,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Ask all processes of nodes to leave: unready first, then no new work, running work finished, leases handed over.

    They hear of it with their next heartbeat and end with exit code 0. Whoever started them decides whether they are
    started again: `posthorn node run` and `posthorn up` do not. Exit code 1: still there when --timeout is over.
    """
    if bool(nodes) == bool(host):
        raise ClusterError("say either the ids of nodes, or --all-on HOST", code=2)
    found, left = run(
        Door(data, dsn, config), lambda storage: _drain(storage, nodes or [], host, timeout if wait else 0.0)
    )
    if as_json:
        print(json.dumps({"asked": [as_value(each) for each in found], "left": left}))
    else:
        print("\n".join(line(each) for each in found))
        print(f"{len(left)} of {len(found)} processes have left" if wait else f"{len(found)} processes asked to leave")
    if wait and len(left) < len(found):
        raise typer.Exit(1)


async def _drain(
    storage: Storage, nodes: list[int], host: str | None, patience: float
) -> tuple[list[Process], list[str]]:
    """Those that were asked, and the boot ids of those that have left within `patience` seconds."""
    from posthorn_model.ids import NodeId

    found = await storage.nodes.drain([NodeId(node) for node in nodes], host)
    missing = sorted({*nodes} - {process.node for process in found})
    if missing or not found:
        whom = f"node {missing[0]}" if missing else f"the machine {host}"
        raise ClusterError(f"no process of {whom} lives: `posthorn node list` shows those that do")
    _warn(found, await storage.nodes.all())
    boots = {process.boot for process in found}
    deadline = time.monotonic() + patience
    while True:
        there = {process.boot for process in await storage.nodes.all() if process.live}
        if boots.isdisjoint(there) or time.monotonic() >= deadline:
            return found, sorted(boots - there)
        await asyncio.sleep(LOOK_SECONDS)


def _warn(asked: list[Process], every: list[Process]) -> None:
    """Tell of services that nobody will run any more."""
    boots = {process.boot for process in asked}
    stay = {each.service for each in every if each.live and each.state == "ready" and each.boot not in boots}
    for service in sorted({process.service for process in asked} - stay):
        print(f"posthorn: no other ready process runs {service}", file=sys.stderr)
