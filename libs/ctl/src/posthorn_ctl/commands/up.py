"""`posthorn up`: start a whole cluster under one data folder and run it until Ctrl-C."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from posthorn_ctl.cluster.detach import run_detached
from posthorn_ctl.cluster.folder import at, read_json
from posthorn_ctl.cluster.screen import Screen
from posthorn_ctl.cluster.toml_text import Tree, merged, override
from posthorn_model.cluster import SERVICES

EPILOG = "Example: posthorn up --nodes 3 --scale imap=4 --set 'smtp-out.relay=\"127.0.0.1:2525\"'"


def up(
    *,
    data: Annotated[Path, typer.Option(help="Data folder: everything of this cluster lies there.")] = Path("data"),
    topology: Annotated[
        Path | None, typer.Option(help="topology.toml: takes the place of --nodes, --scale, --services.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, max=50, help="Nodes, each with every service.")] = 1,
    scale: Annotated[list[str] | None, typer.Option(help="SERVICE=COUNT: further nodes that run only it.")] = None,
    services: Annotated[str, typer.Option(help="Run only these, with commas between.")] = ",".join(SERVICES),
    bus: Annotated[str, typer.Option(help="kafka (embedded), peer-to-peer, or HOST:PORT of a broker.")] = "kafka",
    postgres: Annotated[str | None, typer.Option(help="DSN of another PostgreSQL database.")] = None,
    postgres_programs: Annotated[
        Path | None, typer.Option(help="Folder of other PostgreSQL 18 programs (initdb, postgres).")
    ] = None,
    s3: Annotated[str | None, typer.Option(help="http://ACCESS:SECRET@host:port/bucket for blobs.")] = None,
    ports: Annotated[int | None, typer.Option(help="First port of a fixed range; default: free ones, kept.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value for the settings of all nodes.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is ready; it goes on running.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print cluster.json when ready; the log on stderr.")] = False,
    patience: Annotated[float, typer.Option(help="Seconds until all services must be ready.")] = 180.0,
) -> None:
    """Start a whole cluster: PostgreSQL, Kafka and all services, each its own process, until Ctrl-C.

    The first start fetches Apache Kafka (43 MB) and makes a domain with demo accounts; a second one keeps the data.
    """
    if detach:
        run_detached(at(data), sys.argv[1:], sys.stderr if as_json else sys.stdout)
        if as_json:
            print(json.dumps(read_json(at(data).contract)))
        return
    from posthorn_ctl.cluster import options as choices
    from posthorn_ctl.cluster.up import up as run_cluster

    tree: Tree = {}
    for text in overrides or []:
        tree = merged(tree, override(text))
    options = choices.UpOptions(
        data=data.absolute(),
        cache=Path(os.environ.get("POSTHORN_CACHE") or Path.home() / ".cache" / "posthorn"),
        topology=topology,
        nodes=nodes,
        scale=choices.scale_choice(scale or []),
        services=tuple(name.strip() for name in services.split(",") if name.strip()),
        bus=choices.bus_choice(bus),
        postgres=choices.postgres_choice(postgres) if postgres is not None else None,
        postgres_programs=postgres_programs,
        s3=choices.s3_place(s3) if s3 is not None else None,
        ports=ports,
        overrides=tree,
        patience=patience,
    )
    folder = at(data)

    def announce() -> None:
        print(json.dumps(read_json(folder.contract)), flush=True)

    screen = Screen(sys.stderr if as_json else sys.stdout, called())
    asyncio.run(run_cluster(options, os.environ, screen, announce if as_json else None))


def called() -> str:
    """How whoever reads this can call the command: by name where the PATH has it, else by its place."""
    program = Path(sys.executable).with_name("posthorn")
    if shutil.which("posthorn") == str(program):
        return "posthorn"
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)
