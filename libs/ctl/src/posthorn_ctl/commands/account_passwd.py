"""`posthorn account passwd`: give an account another password."""

import json
from typing import Annotated

import typer

from posthorn_ctl.cluster.keepsakes import changed_password
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.password_choice import PasswordOption, chosen

EPILOG = "Example: printf 'new secret' | posthorn account passwd ann@example.org --password -"


def passwd(
    address: Annotated[str, typer.Argument(help="NAME@DOMAIN")],
    *,
    password: PasswordOption = None,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Replace the password of an account. No node accepts the old one any more."""
    door = Door(data, dsn, config)
    secret, made_up = chosen(password, address)
    run(door, lambda storage: storage.directory.set_password(address, secret))
    if door.folder is not None:
        changed_password(door.folder, address.lower(), secret)
    shown = {"address": address} | ({"password": secret} if made_up else {})
    print(json.dumps(shown) if as_json else "password changed" + (f": {secret}" if made_up else ""))
