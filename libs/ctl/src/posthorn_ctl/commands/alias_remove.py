"""`posthorn alias remove`: an address leads to an account no more."""

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn alias remove sales@example.org ann@example.org"


def remove(
    alias: Annotated[str, typer.Argument(help="NAME@DOMAIN, or @DOMAIN")],
    address: Annotated[str | None, typer.Argument(help="One account; default: all that have it")] = None,
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Remove an alias from one account, or from all. Accounts and their mail stay as they are."""
    count = run(Door(data, dsn, config), lambda storage: storage.directory.remove_alias(alias, address))
    print(json.dumps({"alias": alias, "removed": count}) if as_json else f"{alias} removed from {count} account(s)")
