"""The queue as people look at it: messages, recipients, time lines. Values made from rows; no SQL."""

from dataclasses import dataclass
from datetime import datetime

from posthorn_model.ids import AccountId, QueueMessageId
from posthorn_model.queue_items import RecipientState
from posthorn_storage.database import Row
from posthorn_storage.queue.selection import QueueFilter, Standing, standing_of


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """A recipient as it stands: `due` is the next attempt while it waits and nothing stops it, `reply` the last answer.

    It is due at no time (None) once nothing will be tried any more. `parked` says what stops it: 0 an operator, else a
    pause; None: nothing does. It is due at `resume_due` then.
    """

    id: int
    address: str
    site: str
    shard: int
    state: RecipientState
    attempt: int
    due: datetime | None
    since: datetime | None
    doubts: int
    status: str
    reply: str
    parked: int | None = None
    resume_due: datetime | None = None
    epoch: int = 0
    """Of the lease under which the last attempt was begun."""

    @property
    def standing(self) -> Standing:
        """How it stands, as people say it."""
        return standing_of(self.state, self.parked)


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message in the queue, or one done a short time ago."""

    id: QueueMessageId
    sender: str
    account: AccountId | None
    size: int
    created_at: datetime
    done_at: datetime | None
    recipients: tuple[QueuedRecipient, ...]


@dataclass(frozen=True, slots=True)
class QueueEvent:
    """One entry of a time line.

    `kind`: queued, in-doubt, delivered, deferred, postponed (without an attempt), failed; cancelled, retry, held,
    released by an operator; paused, resumed.
    """

    at: datetime
    kind: str
    recipient: int | None
    attempt: int
    epoch: int
    status: str
    reply: str
    remote: str
    tls: str | None
    reply_class: str = ""
    """Of a refusal, in smtp-out's words: "mailbox-full"."""
    owner: str = ""
    """The boot id of the process that had the lease."""


@dataclass(frozen=True, slots=True)
class ShardDepth:
    """Open recipients of a shard, and how many of them are due now."""

    shard: int
    open: int
    due: int


def message_of(row: Row, recipients: tuple[QueuedRecipient, ...]) -> QueuedMessage:
    """From a row of queue_message."""
    return QueuedMessage(
        id=QueueMessageId(row["id"]),
        sender=row["sender"],
        account=row["account_id"],
        size=row["size"],
        created_at=row["created_at"],
        done_at=row["done_at"],
        recipients=recipients,
    )


def recipient_of(row: Row) -> QueuedRecipient:
    """From a row of queue_recipient."""
    return QueuedRecipient(
        id=row["id"],
        address=row["address"],
        site=row["site"],
        shard=row["shard"],
        state=RecipientState(row["state"]),
        attempt=row["attempt"],
        due=row["due"],
        since=row["since"],
        doubts=row["doubts"],
        status=row["status"],
        reply=row["reply"],
        parked=row["parked"],
        resume_due=row["resume_due"],
        epoch=row["epoch"],
    )


def event_of(row: Row) -> QueueEvent:
    """From a row of queue_event."""
    return QueueEvent(
        at=row["at"],
        kind=row["kind"],
        recipient=row["recipient_id"],
        attempt=row["attempt"],
        epoch=row["epoch"],
        status=row["status"],
        reply=row["reply"],
        remote=row["remote"],
        tls=row["tls"],
        reply_class=row["reply_class"],
        owner=row["owner"],
    )


__all__ = [
    "QueueEvent",
    "QueueFilter",
    "QueuedMessage",
    "QueuedRecipient",
    "ShardDepth",
    "Standing",
    "event_of",
    "message_of",
    "recipient_of",
]
