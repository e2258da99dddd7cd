"""`posthorn status`: what runs, where it listens, and whether it is well."""

import asyncio
import json
import sys
from typing import Annotated

import typer

from posthorn_ctl.cluster.folder import at
from posthorn_ctl.cluster.running import NOT_RUNNING, Report, report
from posthorn_ctl.cluster.screen import Screen
from posthorn_ctl.commands.data_option import DEFAULT_DATA, DataOption

EPILOG = "Example: posthorn status --data ./data --json | jq .state"
EXIT_CODES = {"ready": 0, "stopped": NOT_RUNNING}


def status(
    *, data: DataOption = DEFAULT_DATA, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """Show the nodes, services and addresses of a cluster. Exit code 0: ready; 3: not running; 1: anything else."""
    found = asyncio.run(report(at(data)))
    if as_json:
        print(json.dumps(_document(found)))
    else:
        Screen(sys.stdout).rows(_rows(found))
        print(f"{found.state}, process {found.pid}" if found.pid else "stopped; start it with `posthorn up`")
    raise typer.Exit(EXIT_CODES.get(found.state, 1))


def _rows(found: Report) -> list[tuple[str, str, str, str]]:
    pids = {(each["node"], each["service"]): each["pid"] for each in found.content["processes"]}
    rows = [
        ("-", name, f"process {pid}", "running" if found.pid else "?") for (node, name), pid in pids.items() if not node
    ]
    for each in found.content["endpoints"]:
        if each["protocol"] != "metrics" or each["service"] == "smtp-out":
            rows.append((str(each["node"]), each["service"], each["url"], _word(found, each["node"], each["service"])))
    return rows


def _word(found: Report, node: int, service: str) -> str:
    vital = found.vitals.get((node, service))
    if vital is None:
        return "drained" if found.pid else "stopped"
    return "ready" if vital.ready else vital.reason


def _document(found: Report) -> dict[str, object]:
    return {
        "name": found.content["name"],
        "state": found.state,
        "pid": found.pid,
        "services": [
            {"node": node, "service": service, "ready": vital.ready, "reason": vital.reason}
            for (node, service), vital in found.vitals.items()
        ],
        "drained": found.content.get("drained", []) if found.pid else [],
        "processes": found.content["processes"] if found.pid else [],
    }
