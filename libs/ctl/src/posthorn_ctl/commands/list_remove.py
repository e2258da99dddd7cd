"""`posthorn list remove`: members of a list, or all of it."""

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.distribution import taken_out
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn list remove news@example.org eve@example.net   |   All of it: without a member"


def remove(
    address: Annotated[str, typer.Argument(help="NAME@DOMAIN")],
    members: Annotated[list[str] | None, typer.Argument(help="Who is to go; default: the list itself")] = None,
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Take members out of a list, or remove it. Accounts and their mail stay as they are."""
    count = run(Door(data, dsn, config), lambda storage: taken_out(storage, "list", address, members or []))
    if as_json:
        print(json.dumps({"address": address, "members": count, "whole": not members}))
    else:
        print(f"{address}: {count} member(s) removed" if members else f"{address} removed")
