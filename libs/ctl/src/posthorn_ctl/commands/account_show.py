"""`posthorn account show`: one account with its mailboxes and what it holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = "Example: posthorn account show ann@example.org"


def show(
    address: Annotated[str, typer.Argument(help="NAME@DOMAIN")],
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Show an account: names, quota, mailboxes with their counts."""
    found = run(Door(data, dsn, config), lambda storage: _facts(storage, address))
    if as_json:
        print(json.dumps(found))
        return
    for key in ("address", "id", "name", "aliases", "created", "messages", "bytes", "quota", "shard", "region"):
        value = found[key]
        print(f"{key:<10}{', '.join(value) if isinstance(value, list) else 'none' if value is None else value}")
    for mailbox in found["mailboxes"]:
        print(f"{'mailbox':<10}{mailbox['name']}  {mailbox['messages']} messages, {mailbox['unseen']} unseen")


async def _facts(storage: Storage, address: str) -> dict[str, Any]:
    record = await storage.directory.find_account(address)
    used, messages, limit = await storage.mail.quota(record.id)
    mailboxes = await storage.mail.mailboxes(record.id)
    return {
        "address": record.address,
        "id": record.id,
        "name": record.display_name,
        "aliases": list(record.aliases),
        "created": record.created_at.isoformat(timespec="seconds"),
        "messages": messages,
        "bytes": used,
        "quota": limit,
        "shard": (await storage.shards.of(record.id)).name,
        "region": record.region or None,
        "mailboxes": [{"name": each.name, "messages": each.total, "unseen": each.unseen} for each in mailboxes],
    }
