"""`posthorn queue reschedule`: the next attempt at another time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from posthorn_ctl.commands.confirmation import YesOption
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice
from posthorn_ctl.commands.queue_action import Act, act
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
    seconds_from,
)

EPILOG = "Example: posthorn queue reschedule --site example.net --in 30m --config node.toml --json"


def reschedule(
    message: MessageChoice = None,
    *,
    later: Annotated[str | None, typer.Option("--in", help='After so long, such as "30m"; without it at once.')] = None,
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
    """Try a message, one recipient of it, or all that a filter means at once, or later. What is held stays held."""
    choice = Choice(message, sender, recipient, site, state, account, older)
    at = None if later is None else datetime.now(UTC) + timedelta(seconds=seconds_from(later))
    act(Door(data, dsn, config), Act("reschedule", "rescheduled", choice, note, at, yes, dry_run, as_json))
