"""`posthorn dkim list`: the DKIM keys of all domains, and what they wait for."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.dkim import DkimKey

EPILOG = "Example: posthorn dkim list --config node.toml --json"


def list_(
    domain: Annotated[str | None, typer.Argument(help="One domain only.")] = None,
    *,
    removed: Annotated[bool, typer.Option("--removed", help="Show the removed ones too.")] = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """List keys: waiting for their record, active, retired, and removed ones whose record is in DNS still."""
    found = run(Door(data, dsn, config), lambda storage: _look(storage, domain))
    shown = [each for each in found if removed or each["state"] != "removed" or each["published"]]
    print(json.dumps(shown) if as_json else _text(shown))


async def _look(storage: Storage, domain: str | None) -> list[dict[str, Any]]:
    from posthorn_storage.directory.addresses import domain_key

    keys = await storage.dkim.all() if domain is None else await storage.dkim.of([domain_key(domain)])
    return [_facts(key) for key in keys]


def _facts(key: DkimKey) -> dict[str, Any]:
    return {
        "domain": key.domain,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "state": key.state,
        "created": key.created_at.isoformat(timespec="seconds"),
        "published": _time(key.published_at),
        "active": _time(key.active_at),
        "retired": _time(key.retired_at),
        "removed": _time(key.removed_at),
        "problem": key.problem or "",
        "next_look": _time(key.due),
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


def _text(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no DKIM key in the database"
    lines = []
    for each in found:
        since = each[each["state"]] if each["state"] != "waiting" else each["created"]
        lines.append(f"{each['domain']}  {each['selector']}  {each['algorithm']}  {each['state']} since {since}")
        if each["problem"]:
            lines.append(f"    {each['problem']} (next look {each['next_look']})")
        elif each["state"] == "removed" and each["published"]:
            lines.append("    its record may leave DNS")
    return "\n".join(lines)
