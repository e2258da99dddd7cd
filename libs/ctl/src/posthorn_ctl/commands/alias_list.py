"""`posthorn alias list`: all aliases with the accounts they lead to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = "Example: posthorn alias list --json | jq -r '.[].alias'"
PAGE = 1000


def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100_000,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """List the aliases of the cluster; "@example.org" is the catch-all of a domain."""

    async def pages(storage: Storage) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        while len(found) < limit:
            after = found[-1] if found else ("", "")
            page = await storage.directory.list_aliases(after, min(PAGE, limit - len(found)))
            found += page
            if not page:
                break
        return found

    pairs = run(Door(data, dsn, config), pages)
    if as_json:
        print(json.dumps([{"alias": alias, "address": address} for alias, address in pairs]))
    else:
        for alias, address in pairs:
            print(f"{alias}  {address}")
