"""`posthorn queue show`: one message with its time line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.queue_choice import table
from posthorn_ctl.commands.queue_list import recipient_row

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.queue import QueuedMessage, QueueEvent

EPILOG = "Example: posthorn queue show 4711 --config node.toml --json"


def show(
    message: Annotated[int, typer.Argument(help="Its number, as `posthorn queue list` shows it.")],
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Show a message of the outgoing queue: its recipients, and what happened to it so far."""

    async def look(storage: Storage) -> tuple[QueuedMessage, list[QueueEvent]]:
        from posthorn_model.ids import QueueMessageId

        number = QueueMessageId(message)
        return await storage.queue.show(number), await storage.queue.time_line(number)

    found, line = run(Door(data, dsn, config), look)
    if as_json:
        from posthorn_storage.queue.views import event_view, message_view

        print(json.dumps({**message_view(found), "time_line": [event_view(each) for each in line]}))
        return
    addresses = {each.id: each.address for each in found.recipients}
    print(f"message  {found.id}, {found.size:,} bytes, from <{found.sender}>")
    print(f"queued   {found.created_at.isoformat(' ', 'seconds')}")
    if found.done_at is not None:
        print(f"done     {found.done_at.isoformat(' ', 'seconds')}")
    print(table([recipient_row(each) for each in found.recipients]))
    print("\n" + table([_row(each, addresses) for each in line]))


def _row(event: QueueEvent, addresses: dict[int, str]) -> tuple[str, ...]:
    whom = "" if event.recipient is None else f"<{addresses.get(event.recipient, '?')}>"
    lease = f"attempt {event.attempt}, lease {event.epoch} {event.owner}".rstrip() if event.epoch else ""
    kind = event.reply_class and f"[{event.reply_class}]"
    said = " ".join(each for each in (kind, event.reply, event.remote and f"({event.remote})", event.tls or "") if each)
    return f"{event.at:%Y-%m-%d %H:%M:%S}", event.kind, whom, lease, said
