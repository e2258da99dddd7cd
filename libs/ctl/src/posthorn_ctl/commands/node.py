"""`posthorn node run`, or `posthorn node` alone: several services as one node, each its own process."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_model.cluster import SERVICES

EPILOG = "Example: posthorn node run --services imap,jmap --config node.toml"
ALL_SERVICES = ",".join(SERVICES)
ServicesOption = Annotated[str, typer.Option(help="Services to run, with commas between.")]
ConfigOption = Annotated[Path | None, typer.Option(envvar="POSTHORN_CONFIG", help="Settings file of the node.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Log as JSON, whatever log.format says.")]


def node(
    context: typer.Context,
    *,
    services: ServicesOption = ALL_SERVICES,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Nodes: run one on this machine, list those of the cluster, drain some. Without a command it runs one."""
    if context.invoked_subcommand is None:
        run(services=services, config=config, as_json=as_json)
        return
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ClusterError(f"options go behind the command: posthorn node {context.invoked_subcommand} ...", code=2)


def run(*, services: ServicesOption = ALL_SERVICES, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Run services of one node until SIGTERM, or until they were drained; all share one node id.

    Each is its own process, started again when it dies.
    """
    names = [name.strip() for name in services.split(",") if name.strip()]
    unknown = [name for name in names if name not in SERVICES]
    if unknown or not names:
        wrong = unknown[0] if unknown else "(none)"
        raise ClusterError(f"--services: no service is called {wrong}: there are {', '.join(SERVICES)}", code=2)
    if config is None:
        raise ClusterError("say --config PATH or set POSTHORN_CONFIG", code=2)
    from posthorn_ctl.cluster.node_run import run_node

    environ = {**os.environ, **({"POSTHORN__LOG__FORMAT": "json"} if as_json else {})}
    raise typer.Exit(asyncio.run(run_node(names, config, environ)))
