"""`posthorn topology apply`: brings a running local cluster to another description."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.data_option import DEFAULT_DATA, DataOption
from posthorn_ctl.commands.topology_file import TopologyArgument, file_of

if TYPE_CHECKING:
    from posthorn_ctl.cluster.folder import DataFolder

EPILOG = "Example: posthorn topology apply deploy/topologies/paired --data ./data"


def apply(
    topology: TopologyArgument,
    *,
    data: DataOption = DEFAULT_DATA,
    patience: Annotated[float, typer.Option(help="Seconds until it must be done.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the nodes as JSON.")] = False,
) -> None:
    """Change the cluster of `posthorn up` while it runs: start what is missing, then drain what is too much.

    A process whose region changes is started anew. What cannot be started leaves the cluster as it was.
    """
    from posthorn_ctl.cluster import asked
    from posthorn_ctl.cluster.folder import at, holder
    from posthorn_ctl.cluster.running import NOT_RUNNING, content_of
    from posthorn_ctl.cluster.up import CHANGE_SIGNAL

    folder = at(data)
    pid = holder(folder)
    if not pid:
        raise ClusterError(
            f"no cluster runs in {folder.path}: start one with `posthorn up --topology`", code=NOT_RUNNING
        )
    if content_of(folder)["state"] != "ready":
        raise ClusterError(f"the cluster in {folder.path} is not ready yet: see `posthorn status`")
    asked.keep(folder, file_of(topology))
    digest = asked.digest(folder)
    attempt = int(content_of(folder)["topology"]["attempt"])
    os.kill(pid, CHANGE_SIGNAL)
    told = _wait(folder, pid, attempt, patience)
    if told["error"]:
        raise ClusterError(f"the cluster stays as it was: {told['error']}")
    if told["digest"] != digest:
        raise ClusterError(f"somebody else has changed the cluster to the topology {told['name']} meanwhile")
    _tell(folder, as_json=as_json)


def _wait(folder: DataFolder, pid: int, attempt: int, patience: float) -> dict[str, Any]:
    """What cluster.json tells of the change after `attempt`."""
    from posthorn_ctl.cluster.folder import holder
    from posthorn_ctl.cluster.running import content_of

    deadline = time.monotonic() + patience
    while True:
        told: dict[str, Any] = content_of(folder)["topology"]
        if told["attempt"] > attempt:
            return told
        if holder(folder) != pid:
            raise ClusterError(f"the cluster in {folder.path} has ended meanwhile: see {folder.logs}")
        if time.monotonic() > deadline:
            raise ClusterError(f"not done after {patience:.0f} s; it goes on: see `posthorn logs`")
        time.sleep(0.1)


def _tell(folder: DataFolder, *, as_json: bool) -> None:
    from posthorn_ctl.cluster.running import content_of

    content = content_of(folder)
    if as_json:
        print(json.dumps({"topology": content["topology"], "nodes": content["nodes"]}))
    else:
        for node in content["nodes"]:
            region = f"  region {node['region']}" if node["region"] else ""
            print(f"node {node['id']}: {', '.join(node['services'])}{region}")
