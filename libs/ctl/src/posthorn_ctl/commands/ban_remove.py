"""`posthorn ban remove`: lifts a ban."""

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.ban_add import network_of
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn ban remove 192.0.2.0/24 --config node.toml --json"


def remove(
    network: Annotated[str, typer.Argument(help="As `posthorn ban list` shows it.")],
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Lift the ban of an address or a network; what failed before still counts."""
    lifted = network_of(network)
    run(Door(data, dsn, config), lambda storage: storage.bans.remove(lifted))
    print(json.dumps({"removed": str(lifted)}) if as_json else f"{lifted} is not banned any more")
