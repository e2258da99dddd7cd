"""`posthorn certificate remove`: a certificate out of the database."""

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.confirmation import YesOption, confirm
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn certificate remove example.org --yes --config node.toml"


def remove(
    name: Annotated[str, typer.Argument(help="As `posthorn certificate list` shows it.")],
    *,
    yes: YesOption = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Remove a certificate and its key; within 15 seconds no node shows it any more."""
    confirm(f"Remove the certificate {name} and its key?", yes=yes)
    run(Door(data, dsn, config), lambda storage: storage.certificates.remove(name))
    print(json.dumps({"removed": name}) if as_json else f"{name} removed")
