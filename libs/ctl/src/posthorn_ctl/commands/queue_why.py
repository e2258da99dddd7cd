"""`posthorn queue why`: why a message is still here, and what happens next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.queue import Explanation

EPILOG = "Example: posthorn queue why 4711 --config node.toml --json"


def why(
    message: Annotated[int, typer.Argument(help="Its number, as `posthorn queue list` shows it.")],
    *,
    recipient: Annotated[str | None, typer.Option(help="Only recipients with this in their address.")] = None,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Say of each recipient why it is still in the queue, and what happens next."""

    async def look(storage: Storage) -> list[Explanation]:
        from posthorn_model.ids import QueueMessageId

        return await storage.queue.why(QueueMessageId(message))

    found = [each for each in run(Door(data, dsn, config), look) if (recipient or "") in each.recipient.address]
    if as_json:
        from posthorn_storage.queue.views import explanation_view

        print(json.dumps([explanation_view(each) for each in found]))
    else:
        print("\n\n".join(map(_text, found)) or "no recipient has that in its address")


def _text(answer: Explanation) -> str:
    lines = [f"<{answer.recipient.address}>: {answer.recipient.standing.value}"]
    lines += [f"  why    {sentence}" for sentence in answer.because]
    lines += [f"  next   {sentence}" for sentence in answer.next]
    return "\n".join(lines)
