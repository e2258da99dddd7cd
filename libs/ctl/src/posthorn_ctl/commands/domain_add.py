"""`posthorn domain add`: a domain whose mail is for this cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = "Example: posthorn domain add example.net"


def add(
    name: Annotated[str, typer.Argument(help="Domain name")],
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Add a domain. Adding one that is there is no error; running nodes know it within 30 seconds."""

    async def work(storage: Storage) -> bool:
        before = set(await storage.directory.domains())
        await storage.directory.add_domain(name, idempotent=True)
        return set(await storage.directory.domains()) != before

    added = run(Door(data, dsn, config), work)
    if as_json:
        print(json.dumps({"domain": name, "added": added}))
    else:
        print(f"{name} added" if added else f"{name} is there already")
