"""`posthorn suppression remove`: an address gets mail again."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn suppression remove bob@example.net --config node.toml --json"


def remove(
    address: Annotated[str, typer.Argument(help="As `posthorn suppression list` shows it.")],
    *,
    scope: Annotated[
        str | None, typer.Option("--for-mail-of", help='Only for this domain or sender; "" is everybody\'s mail.')
    ] = None,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Remove an address from the list, for one sender or domain or for all."""
    count = run(Door(data, dsn, config), lambda storage: storage.queue.suppressions.remove(address, scope))
    print(json.dumps({"address": address, "removed": count}) if as_json else f"{address} gets mail again")
