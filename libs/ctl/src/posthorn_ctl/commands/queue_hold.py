"""`posthorn queue hold`: what waits is not tried until it is released."""

from __future__ import annotations

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
)

EPILOG = 'Example: posthorn queue hold --sender news@example.org --note "asked by legal" --config node.toml --json'


def hold(
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
    """Hold a message, one recipient of it, or all that a filter means: nothing is tried, nothing expires."""
    choice = Choice(message, sender, recipient, site, state, account, older)
    act(Door(data, dsn, config), Act("hold", "held", choice, note, None, yes, dry_run, as_json))
