"""`posthorn account app-password remove`: a device or program that shall log in no more."""

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn account app-password remove ann@example.org 3 --json"


def remove(
    address: Annotated[str, typer.Argument(help="The account.")],
    number: Annotated[int, typer.Argument(help="Its id, as `posthorn account app-password list` shows it.")],
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Take an app password back: it is good for nothing from now on."""
    run(Door(data, dsn, config), lambda storage: storage.directory.app_passwords.remove(address, number))
    print(json.dumps({"removed": number}) if as_json else f"app password {number} of {address} removed")
