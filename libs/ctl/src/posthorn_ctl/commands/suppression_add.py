"""`posthorn suppression add`: an address gets no mail any more, of one sender, one domain or everybody."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.queue_choice import seconds_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from posthorn_storage import Storage
    from posthorn_storage.queue.suppression import Source

EPILOG = (
    "Example: posthorn suppression add bob@example.net --for-mail-of example.org --complaint --config a.toml --json"
)
ScopeChoice = Annotated[
    str, typer.Option("--for-mail-of", help="Domain or address of the sender; without it everybody's mail.")
]


def add(
    address: Annotated[str, typer.Argument(help="The recipient's address.")],
    *,
    scope: ScopeChoice = "",
    complaint: Annotated[bool, typer.Option("--complaint", help="Its owner complained of the mail.")] = False,
    duration: Annotated[
        str | None, typer.Option("--for", help='How long, such as "90d"; without it until it is removed.')
    ] = None,
    reason: Annotated[str, typer.Option(help="For people who read the list, and for the sender.")] = "",
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Enter an address. Mail to it fails at once where `smtp-out.suppression.mode` is "enforce"."""
    source: Source = "complaint" if complaint else "operator"
    seconds = None if duration is None else seconds_from(duration)
    told = reason or ("its owner complained" if complaint else "by the operator")
    work = partial(_put, {address: told}, scope, source, seconds)
    run(Door(data, dsn, config), work)
    answer = {"address": address, "scope": scope, "source": source, "seconds": seconds}
    print(json.dumps(answer) if as_json else f"{address} gets no mail of {scope or 'anybody'} any more")


async def _put(
    addresses: Mapping[str, str], scope: str, source: Source, seconds: float | None, storage: Storage
) -> None:
    await storage.queue.suppressions.put(addresses, scope, source, seconds)
