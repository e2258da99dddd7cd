"""`posthorn queue pauses`: what is paused, why, and how much of the queue that stops."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.queue_choice import counted, table
from posthorn_ctl.commands.queue_scope import scope_text

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = "Example: posthorn queue pauses --config node.toml --json"


def pauses(
    *, data: DataChoice = None, dsn: DsnChoice = None, config: ConfigChoice = None, as_json: JsonChoice = False
) -> None:
    """List the pauses. The recipients counted are those that came up since; more may wait until they are due."""
    found = run(Door(data, dsn, config), _look)
    shown = table([_row(each) for each in found]) or "nothing is paused"
    print(json.dumps(found) if as_json else shown)


async def _look(storage: Storage) -> list[dict[str, Any]]:
    from posthorn_storage.queue.views import pause_view

    stopped = await storage.queue.pauses.stopped()
    return [pause_view(each, stopped.get(each.id, 0)) for each in await storage.queue.pauses.all()]


def _row(pause: dict[str, Any]) -> tuple[str, ...]:
    until = "ending" if pause["ending"] else f"until {pause['until']}" if pause["until"] else "until it is resumed"
    count = counted(pause["recipients"], "recipient")
    return scope_text(pause["scope"], pause["name"]), until, count, pause["reason"]
