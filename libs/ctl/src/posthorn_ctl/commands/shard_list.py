"""`posthorn shard list`: the databases that accounts live on, and which moves are not over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = "Example: posthorn shard list --config node.toml --json"


def list_(
    *, data: DataChoice = None, dsn: DsnChoice = None, config: ConfigChoice = None, as_json: JsonChoice = False
) -> None:
    """List the shards with their accounts, and moves that are under way, were cut short, or still leave rows behind."""
    found = run(Door(data, dsn, config), _look)
    print(json.dumps(found) if as_json else _text(found))


async def _look(storage: Storage) -> dict[str, Any]:
    names = {shard.number: shard.name for shard in storage.shards}
    regions = {shard.number: shard.region for shard in storage.shards}
    counts = await storage.directory.accounts_by_shard()
    return {
        "shards": [
            {"number": number, "name": name, "region": regions[number] or None, "accounts": counts.get(number, 0)}
            for number, name in sorted(names.items())
        ],
        "moves": [
            {
                "account": move.account,
                "from": names.get(move.source, str(move.source)),
                "to": names.get(move.target, str(move.target)),
                "state": move.step if move.live or move.step == "switched" else "cut short",
                "started_at": move.started_at.isoformat(),
            }
            for move in await storage.moves.all()
        ],
    }


def _text(found: dict[str, Any]) -> str:
    lines = [
        f"{shard['number']:>3}  {shard['name']:<30} {shard['region'] or '-':<12} {shard['accounts']:>10,} accounts"
        for shard in found["shards"]
    ]
    lines += [
        f"account {move['account']}: from {move['from']} to {move['to']}, {move['state']}, since {move['started_at']}"
        for move in found["moves"]
    ]
    return "\n".join(lines)
