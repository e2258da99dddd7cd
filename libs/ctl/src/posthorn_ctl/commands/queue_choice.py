"""Which part of the queue a command is about: one message, one recipient of it, or all that a filter means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.queue import QueueFilter

STATES = ("waiting", "held", "paused", "in-flight", "delivered", "failed", "cancelled")
MessageChoice = Annotated[
    int | None, typer.Argument(help="Number of a message, as `posthorn queue list` shows it; without it by filter.")
]
SenderChoice = Annotated[str | None, typer.Option(help="Part of the sender's address.")]
RecipientChoice = Annotated[str | None, typer.Option(help="Part of the recipient's address.")]
SiteChoice = Annotated[str | None, typer.Option(help='Destination domain, or "local" for mailboxes of the cluster.')]
StateChoice = Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")]
AccountChoice = Annotated[str | None, typer.Option(help="Address of the account that sent it.")]
OlderChoice = Annotated[str | None, typer.Option("--older-than", help='In the queue for so long, such as "2h".')]
NoteChoice = Annotated[str, typer.Option(help="For the time line: who did it, or why.")]
DryRunChoice = Annotated[bool, typer.Option("--dry-run", help="Only count what would be changed.")]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was typed."""

    message: int | None = None
    sender: str | None = None
    recipient: str | None = None
    site: str | None = None
    state: str | None = None
    account: str | None = None
    older: str | None = None

    @property
    def anything(self) -> bool:
        """Whether something was typed at all."""
        return any(
            each is not None
            for each in (self.message, self.sender, self.recipient, self.site, self.state, self.account, self.older)
        )

    async def filter(self, storage: Storage, *, done: bool = False, before: int = 0) -> QueueFilter:
        """As the queue takes it. Raises ClusterError, AccountNotFound."""
        from posthorn_model.ids import QueueMessageId
        from posthorn_storage.queue import QueueFilter, Standing

        if self.state is not None and self.state not in STATES:
            raise ClusterError(f"{self.state} is no state of a recipient: it is one of {', '.join(STATES)}")
        account = None
        if self.account is not None:
            account = (await storage.directory.find_account(self.account)).id
        return QueueFilter(
            before=before,
            done=done,
            account=account,
            sender=self.sender,
            recipient=self.recipient,
            site=None if self.site is None else site_named(self.site),
            state=None if self.state is None else Standing(self.state),
            older=None if self.older is None else seconds_from(self.older),
            message=None if self.message is None else QueueMessageId(self.message),
        )


def site_named(name: str) -> str:
    """A destination as the queue names it: in lower case and A-labels. Raises ClusterError."""
    from posthorn_model.queue_items import site_of

    found = site_of(f"x@{name.strip()}") if name.strip() else None
    if not found:
        raise ClusterError(f"{name or 'nothing'} is no domain: write it such as example.net")
    return found


def seconds_from(duration: str) -> float:
    """From text like "12h". Raises ClusterError."""
    from posthorn_node.settings import parse_duration

    try:
        seconds = float(parse_duration(duration))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3660 * 86_400:
        raise ClusterError(f'{duration} is no time: write it such as "12h"')
    return seconds


def counted(count: int, noun: str) -> str:
    """ "1 recipient", "2 recipients"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lines with columns side by side; the last one is as long as it is."""
    if not rows:
        return ""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )
