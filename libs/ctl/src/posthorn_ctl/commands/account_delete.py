"""`posthorn account delete`: an account and all it holds."""

import json
from typing import Annotated

import typer

from posthorn_ctl.cluster.keepsakes import changed_password
from posthorn_ctl.commands.confirmation import YesOption, confirm
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn account delete ann@example.org --yes"


def delete(
    address: Annotated[str, typer.Argument(help="NAME@DOMAIN")],
    *,
    yes: YesOption = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Delete an account with all its mail, events and contacts."""
    confirm(f"Delete {address} and everything in it?", yes=yes)
    door = Door(data, dsn, config)
    run(door, lambda storage: storage.directory.delete_account(address))
    if door.folder is not None:
        changed_password(door.folder, address.lower(), None)
    print(json.dumps({"deleted": address}) if as_json else f"{address} deleted")
