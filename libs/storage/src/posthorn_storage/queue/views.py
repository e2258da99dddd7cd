"""The queue as values of JSON, the same for the management API and for `posthorn queue ... --json`. Pure."""

from datetime import datetime
from typing import Any

from posthorn_storage.queue.listing import QueuedMessage, QueuedRecipient, QueueEvent
from posthorn_storage.queue.operations import Done, Meant
from posthorn_storage.queue.pauses import Pause
from posthorn_storage.queue.suppression import Suppression
from posthorn_storage.queue.why import Explanation


def message_view(message: QueuedMessage) -> dict[str, Any]:
    """A message with its recipients."""
    return {
        "id": message.id,
        "sender": message.sender,
        "account": message.account,
        "size": message.size,
        "created": _time(message.created_at),
        "done": _time(message.done_at),
        "recipients": [recipient_view(each) for each in message.recipients],
    }


def recipient_view(recipient: QueuedRecipient) -> dict[str, Any]:
    """A recipient; `next_attempt` is null while something stops it, and when nothing will be tried any more."""
    waiting = recipient.standing == "waiting"
    return {
        "id": recipient.id,
        "address": recipient.address,
        "site": recipient.site,
        "shard": recipient.shard,
        "state": recipient.standing.value,
        "attempts": recipient.attempt,
        "in_doubt": recipient.doubts,
        "next_attempt": _time(recipient.due) if waiting else None,
        "in_flight_since": _time(recipient.since),
        "status": recipient.status,
        "reply": recipient.reply,
    }


def event_view(event: QueueEvent) -> dict[str, Any]:
    """An entry of a time line; `epoch` and `owner` (boot id) are of the lease under which an attempt was made."""
    return {
        "at": _time(event.at),
        "kind": event.kind,
        "recipient": event.recipient,
        "attempt": event.attempt,
        "epoch": event.epoch,
        "status": event.status,
        "reply": event.reply,
        "remote": event.remote,
        "tls": event.tls,
        "class": event.reply_class or None,
        "owner": event.owner or None,
    }


def pause_view(pause: Pause, stopped: int) -> dict[str, Any]:
    """A pause, and how many recipients it stops (of those that were looked at)."""
    return {
        "scope": pause.scope,
        "name": pause.name,
        "reason": pause.reason,
        "since": _time(pause.since),
        "until": _time(pause.until),
        "ending": pause.lifted,
        "recipients": stopped,
    }


def explanation_view(answer: Explanation) -> dict[str, Any]:
    """Why a recipient is still here, and what happens next."""
    owner = answer.owner
    return {
        "recipient": recipient_view(answer.recipient),
        "why": list(answer.because),
        "next": list(answer.next),
        "last_reply": answer.last_reply or None,
        "class": answer.last_class or None,
        "next_attempt": _time(answer.next_attempt),
        "expires": _time(answer.expires_at),
        "owner": None
        if owner is None
        else {"node": owner.node, "boot": owner.boot, "epoch": owner.epoch, "live": owner.live},
    }


def suppression_view(entry: Suppression) -> dict[str, Any]:
    """An entry of the suppression list; the scope "" is everybody's mail."""
    return {
        "address": entry.address,
        "scope": entry.scope,
        "source": entry.source,
        "reason": entry.reason,
        "since": _time(entry.since),
        "until": _time(entry.until),
    }


def meant_view(meant: Meant) -> dict[str, Any]:
    """What would be changed."""
    waiting = meant.recipients - meant.in_flight
    return {"recipients": waiting, "messages": meant.messages, "in_flight": meant.in_flight}


def done_view(done: Done) -> dict[str, Any]:
    """What was changed."""
    return {"changed": done.recipients}


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
