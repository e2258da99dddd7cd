"""`posthorn certificate revoke`: a certificate of an authority whose key may be known to others."""

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.confirmation import YesOption, confirm
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn certificate revoke example.org --yes --config node.toml"


def revoke(
    name: Annotated[str, typer.Argument(help='The table [acme."NAME"] of the settings.')],
    *,
    yes: YesOption = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Stop showing it within 15 seconds; the holder of `acme.renew` has the authority revoke it, and orders another."""
    confirm(f"Revoke the certificate {name}? Clients are shown another one until it is replaced.", yes=yes)
    run(Door(data, dsn, config), lambda storage: storage.certificates.revoke(name))
    print(json.dumps({"revoking": name}) if as_json else f"{name} is shown no more; it will be revoked and replaced")
