"""`posthorn topology check`: compares a description with the nodes that run."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.topology_file import TopologyArgument, file_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from posthorn_model.cluster import Process
    from posthorn_storage import Storage

EPILOG = "Example: posthorn topology check deploy/topologies/paired --config node.toml --json"


def check(
    topology: TopologyArgument,
    *,
    containers: Annotated[
        bool, typer.Option("--containers", help="Count services by region; ids of containers are leased.")
    ] = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Say what is missing, too much or in the wrong region, by the node table. Exit code 0: nothing; 1: something."""
    from posthorn_ctl.topology import comparison, description

    wanted = description.read(file_of(topology))
    processes = run(Door(data, dsn, config), _processes)
    found = (comparison.by_count if containers else comparison.by_node)(wanted, processes)
    if as_json:
        differences = [dataclasses.asdict(each) for each in found]
        print(json.dumps({"topology": wanted.name, "same": not found, "differences": differences}))
    else:
        print("\n".join(str(each) for each in found) or f"what runs is what {wanted.name} describes")
    raise typer.Exit(1 if found else 0)


async def _processes(storage: Storage) -> Sequence[Process]:
    return await storage.nodes.all()
