"""`posthorn ban list`: who is kept out, why and how long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage.bans import Ban

EPILOG = "Example: posthorn ban list --config node.toml --json"


def list_(
    *, data: DataChoice = None, dsn: DsnChoice = None, config: ConfigChoice = None, as_json: JsonChoice = False
) -> None:
    """List the banned networks, those that failed too often at logins and those of operators."""
    found = run(Door(data, dsn, config), lambda storage: storage.bans.all())
    shown = [_line(each) for each in found] or ["no network is banned"]
    print(json.dumps([_value(each) for each in found]) if as_json else "\n".join(shown))


def _value(ban: Ban) -> dict[str, Any]:
    return {
        "network": str(ban.network),
        "source": ban.source,
        "reason": ban.reason,
        "since": ban.since.isoformat(),
        "until": ban.until.isoformat() if ban.until else None,
    }


def _line(ban: Ban) -> str:
    until = f"until {ban.until.isoformat(' ', 'seconds')}" if ban.until else "until it is lifted"
    return f"{ban.network}  {until}  {ban.reason} ({ban.source})"
