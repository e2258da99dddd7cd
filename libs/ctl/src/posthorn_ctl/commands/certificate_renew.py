"""`posthorn certificate renew`: a certificate of an authority anew, before its time."""

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn certificate renew example.org --config node.toml"


def renew(
    name: Annotated[str, typer.Argument(help='The table [acme."NAME"] of the settings.')],
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Have the holder of `acme.renew` order it anew at its next round, also when it waits after a failure."""
    run(Door(data, dsn, config), lambda storage: storage.acme.wish(name))
    print(json.dumps({"renewing": name}) if as_json else f"{name} will be ordered anew; the old one serves until then")
