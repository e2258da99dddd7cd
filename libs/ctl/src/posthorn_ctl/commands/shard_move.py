"""`posthorn shard move`: accounts to another database, while they are in use."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.shards.moving import Moved, Progress

EPILOG = "Example: posthorn shard move ann@example.org --to postgres-shard2 --config node.toml"


def move(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="Accounts, by their addresses.")],
    *,
    to: Annotated[str, typer.Option("--to", help="The shard, by the name of its store in the settings.")],
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Move accounts to another shard, one after the other, while they are in use.

    Clients go on: writers wait for a moment while an account is switched. Ended anywhere, it leaves an
    account where it was, or moved; the maintenance service cleans up.
    """
    found = run(Door(data, dsn, config), lambda storage: _move(storage, addresses, to, quiet=as_json))
    print(json.dumps(found) if as_json else "\n".join(_line(one) for one in found))


async def _move(storage: Storage, addresses: list[str], to: str, *, quiet: bool) -> list[dict[str, Any]]:
    found = []
    for address in addresses:
        record = await storage.directory.find_account(address)
        teller = _Teller(record.address, quiet=quiet)
        found.append(_value(record.address, await storage.moves.move(record.id, to, teller)))
    return found


class _Teller:
    """Tells progress on stderr: each step once, copying at every tenth."""

    def __init__(self, address: str, *, quiet: bool) -> None:
        self._address = address
        self._quiet = quiet
        self._last: tuple[str, int] = ("", 0)

    def __call__(self, progress: Progress) -> None:
        tenths = 10 * progress.messages // max(progress.total, 1)
        if (progress.step, tenths) != self._last and not self._quiet:
            print(
                f"{self._address}: {progress.step}, {progress.messages:,} of {progress.total:,} messages",
                file=sys.stderr,
            )
        self._last = (progress.step, tenths)


def _value(address: str, moved: Moved) -> dict[str, Any]:
    return {
        "address": address,
        "from": moved.source,
        "to": moved.target,
        "messages": moved.messages,
        "frozen_seconds": round(moved.frozen, 3),
    }


def _line(one: dict[str, Any]) -> str:
    held = f"writers waited {one['frozen_seconds']:.2f} s"
    return f"{one['address']} moved from {one['from']} to {one['to']}: {one['messages']:,} messages, {held}"
