"""`posthorn account reset`: an account as it was on its first day."""

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.confirmation import YesOption, confirm
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn account reset ann@example.org --yes"


def reset(
    address: Annotated[str, typer.Argument(help="NAME@DOMAIN")],
    *,
    yes: YesOption = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Empty an account: all mail, mailboxes, events and contacts go; the default mailboxes come back."""
    confirm(f"Remove everything in {address}?", yes=yes)
    run(Door(data, dsn, config), lambda storage: storage.directory.reset_account(address))
    print(json.dumps({"reset": address}) if as_json else f"{address} is empty")
