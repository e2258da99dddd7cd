"""`posthorn certificate list`: the certificates of the database, and when they expire."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = "Example: posthorn certificate list --config node.toml --json"


def list_(
    *, data: DataChoice = None, dsn: DsnChoice = None, config: ConfigChoice = None, as_json: JsonChoice = False
) -> None:
    """List the certificates that all nodes share. Those in files of a node are in its settings, not here."""
    found = run(Door(data, dsn, config), _look)
    print(json.dumps(found) if as_json else _text(found))


async def _look(storage: Storage) -> list[dict[str, Any]]:
    problems = await storage.acme.problems()
    stored: list[dict[str, Any]] = [
        {
            "name": record.name,
            "names": sorted(record.names),
            "default": record.default,
            "state": record.state,
            "source": record.source,
            "provider": record.provider,
            "issuer": record.issuer,
            "not_before": record.not_before.isoformat(),
            "not_after": record.not_after.isoformat(),
        }
        for record in await storage.certificates.all()
    ]
    missing: list[dict[str, Any]] = [
        {"name": name, "names": [], "default": False, "state": "missing", "source": "acme", "provider": name}
        for name in problems
        if all(each["name"] != name for each in stored)
    ]
    for each in stored + missing:
        problem = problems.get(str(each["name"]))
        each["problem"], each["next_try"] = (problem[0], problem[1].isoformat()) if problem else ("", None)
    return stored + missing


def _text(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no certificate in the database"
    now = datetime.now(UTC)
    lines = []
    for each in found:
        if each["state"] == "missing":
            lines.append(f"{each['name']}  not issued yet")
        else:
            lines.append(_line(each, now))
        if each["problem"]:
            lines.append(f"    {each['problem']} (next try {each['next_try']})")
    return "\n".join(lines)


def _line(each: dict[str, Any], now: datetime) -> str:
    left = (datetime.fromisoformat(each["not_after"]) - now).days
    marks = ["default"] * each["default"] + [each["state"]] * (each["state"] != "ready")
    expiry = f"{left} days left" if left >= 0 else f"EXPIRED {-left} days ago"
    shown = "".join(f" [{mark}]" for mark in marks)
    return f"{each['name']}  {expiry}, by {each['issuer']} ({each['source']}), for {', '.join(each['names'])}{shown}"
