"""From a reply to an outcome: delivered, deferred or failed, and who is to be told. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from posthorn_mail_format.reports import Action
from posthorn_model.ids import Epoch
from posthorn_model.queue_items import DueRecipient, Outcome, RecipientState
from posthorn_smtp_out.protocol.replies import MAX_TEXT, Reply
from posthorn_smtp_out.retry import by_deadline, expired, late, next_due, returned


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one recipient in one attempt."""

    reply: Reply
    remote: str = ""
    """Who gave the reply; "" when it is our own reason."""
    tls: str | None = None
    relayed_without_dsn: bool = False
    """The remote took it and knows no DSN, so a wanted success report is ours to write (RFC 3461 5.2.2)."""
    local: bool = False
    """Delivered to a mailbox of the cluster."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When to try again and when to give up, in seconds."""

    retry: Sequence[float]
    expire: float


def conclude(due: DueRecipient, answer: Answer, *, epoch: Epoch, policy: Policy, now: datetime) -> Outcome:
    """The outcome to write for one recipient."""
    reply = answer.reply
    text, status, state, again = reply.text, reply.status, RecipientState.DELIVERED, None
    if reply.permanent:
        state = RecipientState.FAILED
    elif not reply.positive:
        again = by_deadline(due, next_due(policy.retry, due.attempt + 1, now), now)
        state = RecipientState.WAITING
        if expired(due.created_at, policy.expire, now) or returned(due, now):
            state, again = RecipientState.FAILED, None
            text, status = f"Delivery time expired; last: {text}"[:MAX_TEXT], "5.4.7"
    if due.in_doubt:
        text = f"(in doubt before) {text}"[:MAX_TEXT]
    return Outcome(
        recipient=due.id,
        epoch=epoch,
        state=state,
        reply=text,
        status=status,
        remote=answer.remote,
        due=again,
        tls=answer.tls or None,
        noticed=state is RecipientState.WAITING and late(due, now) and not due.noticed,
    )


def wants_report(due: DueRecipient, outcome: Outcome, answer: Answer) -> Action | None:
    """The action to report to the sender: "failed", "relayed", "delivered", or None for no report.

    There is never a report to the null reverse-path (RFC 5321 4.5.5), and none that NOTIFY rules out (RFC 3461 4.1).
    """
    wanted = {"FAILURE"} if due.notify is None else set(due.notify.split(","))
    if not due.sender or "NEVER" in wanted:
        return None
    if outcome.noticed:
        return "delayed"  # RFC 2852 4.1.3: whatever else NOTIFY says
    if outcome.state is RecipientState.FAILED and "FAILURE" in wanted:
        return "failed"
    if outcome.state is RecipientState.DELIVERED and due.terms.by_trace and not answer.local:
        return "relayed"
    if outcome.state is RecipientState.DELIVERED and "SUCCESS" in wanted:
        if answer.local:
            return "delivered"
        if answer.relayed_without_dsn:
            return "relayed"
    return None
