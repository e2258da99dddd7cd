"""`posthorn node`: several services as one node, each its own process, with one settings file."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_model.cluster import SERVICES

EPILOG = "Example: posthorn node --services imap,jmap --config node.toml"


def node(
    *,
    services: Annotated[str, typer.Option(help="Services to run, with commas between.")] = ",".join(SERVICES),
    config: Annotated[Path, typer.Option(envvar="POSTHORN_CONFIG", help="Settings file of the node.")],
    as_json: Annotated[bool, typer.Option("--json", help="Log as JSON, whatever log.format says.")] = False,
) -> None:
    """Run services of one node until SIGTERM: each its own process, restarted when it dies, one node id for all."""
    names = [name.strip() for name in services.split(",") if name.strip()]
    unknown = [name for name in names if name not in SERVICES]
    if unknown or not names:
        wrong = unknown[0] if unknown else "(none)"
        raise ClusterError(f"--services: no service is called {wrong}: there are {', '.join(SERVICES)}", code=2)
    from posthorn_ctl.cluster.node_run import run_node

    environ = {**os.environ, **({"POSTHORN__LOG__FORMAT": "json"} if as_json else {})}
    raise typer.Exit(asyncio.run(run_node(names, config, environ)))
