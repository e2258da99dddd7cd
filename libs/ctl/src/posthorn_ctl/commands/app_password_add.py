"""`posthorn account app-password add`: a password for one device or program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.app_password_list import value
from posthorn_ctl.commands.ban_add import seconds_of
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.directory.app_passwords import AppPassword

EPILOG = "Example: posthorn account app-password add ann@example.org phone --services imap,smtp --for 90d --json"


def add(
    address: Annotated[str, typer.Argument(help="The account.")],
    name: Annotated[str, typer.Argument(help="What it is for, such as phone.")],
    *,
    services: Annotated[
        str, typer.Option(help="What it is good for: smtp, imap, pop3, sieve, jmap, dav; without it for all.")
    ] = "",
    duration: Annotated[str | None, typer.Option("--for", help='How long, such as "90d"; without it for ever.')] = None,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Make a password for one device or program. It is shown this once."""
    wanted = [each.strip() for each in services.split(",") if each.strip()]
    seconds = seconds_of(duration)

    async def make(storage: Storage) -> tuple[AppPassword, str]:
        return await storage.directory.app_passwords.add(address, name, wanted, seconds)

    made, password = run(Door(data, dsn, config), make)
    print(json.dumps({**value(made), "password": password}) if as_json else password)
