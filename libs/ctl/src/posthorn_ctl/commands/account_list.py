"""`posthorn account list`: all accounts, by address."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import AccountRecord, Storage

EPILOG = "Example: posthorn account list --json | jq -r '.[].address'"
PAGE = 1000


def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100_000,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """List the accounts of the cluster."""

    async def pages(storage: Storage) -> list[AccountRecord]:
        found: list[AccountRecord] = []
        while len(found) < limit:
            page = await storage.directory.list_accounts(
                found[-1].address if found else "", min(PAGE, limit - len(found))
            )
            found += page
            if not page:
                break
        return found

    records = run(Door(data, dsn, config), pages)
    if as_json:
        print(json.dumps([{"address": each.address, "id": each.id, "name": each.display_name} for each in records]))
    else:
        for each in records:
            print(f"{each.address}  {each.display_name}".rstrip())
