"""`posthorn account app-password list`: the devices and programs that have a password of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from datetime import datetime

    from posthorn_storage.directory.app_passwords import AppPassword

EPILOG = "Example: posthorn account app-password list ann@example.org --json"


def list_(
    address: Annotated[str, typer.Argument(help="The account.")],
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """List the app passwords of an account: what for, when made, last used and over; not the passwords."""
    found = run(Door(data, dsn, config), lambda storage: storage.directory.app_passwords.all(address))
    shown = [_line(each) for each in found] or ["no app password"]
    print(json.dumps([value(each) for each in found]) if as_json else "\n".join(shown))


def value(password: AppPassword) -> dict[str, Any]:
    """For --json."""
    return {
        "id": password.id,
        "name": password.name,
        "services": list(password.services),
        "created_at": password.created_at.isoformat(),
        "used_at": password.used_at.isoformat() if password.used_at else None,
        "expires_at": password.expires_at.isoformat() if password.expires_at else None,
    }


def _line(password: AppPassword) -> str:
    services = ",".join(password.services) or "all"
    times = f"used {_day(password.used_at)}, expires {_day(password.expires_at)}"
    return f"{password.id}  {password.name} ({services})  made {_day(password.created_at)}, {times}"


def _day(time: datetime | None) -> str:
    return time.date().isoformat() if time else "never"
