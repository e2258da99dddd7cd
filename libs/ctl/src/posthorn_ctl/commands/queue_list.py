"""`posthorn queue list`: what waits to be sent, the newest first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.queue_choice import (
    AccountChoice,
    Choice,
    OlderChoice,
    RecipientChoice,
    SenderChoice,
    SiteChoice,
    StateChoice,
    table,
)

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.queue import QueuedMessage, QueuedRecipient

EPILOG = "Example: posthorn queue list --site example.net --state waiting --older-than 2h --config node.toml --json"


def list_(
    *,
    sender: SenderChoice = None,
    recipient: RecipientChoice = None,
    site: SiteChoice = None,
    state: StateChoice = None,
    account: AccountChoice = None,
    older: OlderChoice = None,
    done: Annotated[
        bool, typer.Option("--done", help="Also messages that are done, as long as they are kept.")
    ] = False,
    before: Annotated[int, typer.Option(min=0, help="Only below this number: the next page.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many messages.")] = 100,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """List messages of the outgoing queue with a recipient that the filter means, each with all its recipients."""
    choice = Choice(None, sender, recipient, site, state, account, older)

    async def look(storage: Storage) -> list[QueuedMessage]:
        wanted = await choice.filter(storage, done=done, before=before)
        return await storage.queue.messages(wanted, limit)

    found = run(Door(data, dsn, config), look)
    if as_json:
        from posthorn_storage.queue.views import message_view

        print(json.dumps([message_view(each) for each in found]))
        return
    print("\n".join(map(_text, found)) or "no message is queued that the filter means")
    if len(found) == limit:
        print(f"the next page: --before {found[-1].id}")


def _text(message: QueuedMessage) -> str:
    head = f"{message.id}  {message.created_at:%Y-%m-%d %H:%M:%S}  {message.size:,} bytes  <{message.sender}>"
    return head + "\n" + table([recipient_row(each) for each in message.recipients])


def recipient_row(recipient: QueuedRecipient) -> tuple[str, ...]:
    """Columns for people."""
    when = f"next {recipient.due:%Y-%m-%d %H:%M:%S}" if recipient.standing == "waiting" else ""
    tried = f"{recipient.attempt} tried" if recipient.attempt else ""
    return ("    " + recipient.standing.value, f"<{recipient.address}>", tried, when, recipient.reply[:120])
