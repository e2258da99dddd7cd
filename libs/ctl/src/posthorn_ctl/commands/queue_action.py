"""What hold, release, reschedule and cancel have in common: what is meant is counted and shown, then it is done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.confirmation import YesOption, confirm
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.queue_choice import (
    AccountChoice,
    Choice,
    DryRunChoice,
    MessageChoice,
    NoteChoice,
    OlderChoice,
    RecipientChoice,
    SenderChoice,
    SiteChoice,
    StateChoice,
    counted,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from posthorn_storage import Storage
    from posthorn_storage.queue import Action, Done, Meant


@dataclass(frozen=True, slots=True)
class Act:
    """One of them as it was typed. `told` is its participle."""

    action: Action
    told: str
    choice: Choice
    note: str = ""
    at: datetime | None = None
    yes: bool = False
    dry_run: bool = False
    as_json: bool = False


def act(door: Door, wanted: Act) -> None:
    """Count, ask where more than one message is meant, do it, tell it. Raises ClusterError."""
    if not wanted.choice.anything:
        raise ClusterError(f"say which: posthorn queue {wanted.action} 4711, or --site example.net, or --older-than 0s")

    async def count(storage: Storage) -> Meant:
        meant_by = await wanted.choice.filter(storage)
        found = await storage.queue.operations.meant(meant_by)
        if not found.recipients and meant_by.message is not None:
            await storage.queue.show(meant_by.message)
        return found

    async def work(storage: Storage) -> Done:
        meant_by = await wanted.choice.filter(storage)
        return await storage.queue.operations.apply(wanted.action, meant_by, note=wanted.note, at=wanted.at)

    meant = run(door, count)
    told = f"{counted(meant.recipients, 'open recipient')} of {counted(meant.messages, 'message')}"
    if meant.in_flight:
        told += f"; {meant.in_flight:,} in flight now, left alone"
    if wanted.dry_run:
        from posthorn_storage.queue.views import meant_view

        print(json.dumps(meant_view(meant)) if wanted.as_json else told)
        return
    if wanted.choice.message is None and meant.recipients:
        confirm(f"{told}: {wanted.action} what waits of them?", yes=wanted.yes or wanted.as_json)
    done = run(door, work)
    if wanted.as_json:
        from posthorn_storage.queue.views import done_view, meant_view

        print(json.dumps({**done_view(done), "meant": meant_view(meant)}))
    else:
        print(f"{told}\n{counted(done.recipients, 'recipient')} {wanted.told}")


def command(action: Action, told: str, says: str) -> Callable[..., None]:
    """The command of an action that needs no more to be said than which mail is meant; `says` is its help."""

    def typed(
        message: MessageChoice = None,
        *,
        sender: SenderChoice = None,
        recipient: RecipientChoice = None,
        site: SiteChoice = None,
        state: StateChoice = None,
        account: AccountChoice = None,
        older: OlderChoice = None,
        note: NoteChoice = "",
        yes: YesOption = False,
        dry_run: DryRunChoice = False,
        data: DataChoice = None,
        dsn: DsnChoice = None,
        config: ConfigChoice = None,
        as_json: JsonChoice = False,
    ) -> None:
        choice = Choice(message, sender, recipient, site, state, account, older)
        act(Door(data, dsn, config), Act(action, told, choice, note, None, yes, dry_run, as_json))

    typed.__doc__ = says
    return typed
