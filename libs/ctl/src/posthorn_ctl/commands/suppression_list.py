"""`posthorn suppression list`: which addresses get no mail, of whom, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.queue_choice import table

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.queue import Suppression

EPILOG = "Example: posthorn suppression list --address @example.net --source bounce --config node.toml --json"
SOURCES = ("bounce", "complaint", "operator")


def list_(
    *,
    address: Annotated[str | None, typer.Option(help="Part of the recipient's address.")] = None,
    scope: Annotated[
        str | None, typer.Option("--for-mail-of", help="Domain or address of the sender as the list shows it.")
    ] = None,
    source: Annotated[str | None, typer.Option(help=f"One of {', '.join(SOURCES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """List addresses that get no mail, by address."""
    if source is not None and source not in SOURCES:
        raise ClusterError(f"{source} is no source: it is one of {', '.join(SOURCES)}")

    async def look(storage: Storage) -> list[Suppression]:
        chosen: Any = source
        return list(await storage.queue.suppressions.all(part=address, scope=scope, source=chosen, limit=limit))

    found = run(Door(data, dsn, config), look)
    if as_json:
        from posthorn_storage.queue.views import suppression_view

        print(json.dumps([suppression_view(each) for each in found]))
    else:
        print(table([_row(each) for each in found]) or "no address is suppressed")


def _row(entry: Suppression) -> tuple[str, ...]:
    until = f"until {entry.until.isoformat(' ', 'seconds')}" if entry.until else "until it is removed"
    return entry.address, f"mail of {entry.scope or 'everybody'}", entry.source, until, entry.reason
