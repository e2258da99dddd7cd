"""`posthorn index status`: how far the search index is, and which messages could not be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = "Example: posthorn index status   |   One account: posthorn index status ann@example.org"
SHOWN = 20
"""Messages given up that are shown to people; --json has more."""
MAX_FAILURES = 1000


def status(
    address: Annotated[str | None, typer.Argument(help="Only this account.", show_default=False)] = None,
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Show how many messages wait for the search index, since when, and those that were given up."""
    found = run(Door(data, dsn, config), lambda storage: _facts(storage, address))
    if as_json:
        print(json.dumps(found))
        return
    if address is not None:
        print(f"{found['indexed']:,} messages are indexed, {found['partly']:,} of them not in full")
    print(f"{found['waiting']:,} messages wait, the oldest for {found['seconds']:.0f} s; {found['failed']:,} given up")
    for failure in found["failures"][:SHOWN]:
        print(f"  account {failure['account']}, message {failure['message']}: {failure['reason']}")


async def _facts(storage: Storage, address: str | None) -> dict[str, Any]:
    account = None if address is None else (await storage.directory.find_account(address)).id
    failures = [
        {"account": owner, "message": message, "attempts": attempts, "reason": reason}
        for owner, message, attempts, reason in await storage.search.failures(MAX_FAILURES)
        if account in (None, owner)
    ]
    if account is None:
        lag = await storage.search.lag()
        found: dict[str, Any] = {}
    else:
        own = await storage.search.status(account)
        lag, found = own.lag, {"indexed": own.indexed, "partly": own.partly}
    return {**found, "waiting": lag.waiting, "failed": lag.failed, "seconds": lag.seconds, "failures": failures}
