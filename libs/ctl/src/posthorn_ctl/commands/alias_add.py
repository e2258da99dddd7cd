"""`posthorn alias add`: another address of an account, or all addresses of a domain that nobody has."""

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = (
    "Example: posthorn alias add sales@example.org ann@example.org   |   "
    "Catch-all: posthorn alias add @example.org ann@example.org"
)


def add(
    alias: Annotated[str, typer.Argument(help="NAME@DOMAIN, or @DOMAIN for whatever nobody has there")],
    address: Annotated[str, typer.Argument(help="The account that gets its mail")],
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Let an account have mail for another address, and send from it. An alias may have several accounts."""
    run(Door(data, dsn, config), lambda storage: storage.directory.add_alias(alias, address))
    print(json.dumps({"alias": alias, "address": address}) if as_json else f"{alias} leads to {address}")
