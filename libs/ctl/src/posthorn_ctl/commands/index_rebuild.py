"""`posthorn index rebuild`: has the messages of an account indexed anew."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = "Example: posthorn index rebuild ann@example.org"


def rebuild(
    address: Annotated[str, typer.Argument(help="NAME@DOMAIN")],
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Index all messages of an account anew: after the languages changed, or when some were given up.

    The cluster does it in the background; until then the old words are found. `posthorn index status` tells how far.
    """

    async def work(storage: Storage) -> int:
        return await storage.search.rebuild((await storage.directory.find_account(address)).id)

    count = run(Door(data, dsn, config), work)
    print(json.dumps({"messages": count}) if as_json else f"{count:,} messages of {address} are indexed anew")
