"""From a reply to an outcome: delivered, deferred or failed, and who is to be told. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from posthorn_mail_format.reports import Action
from posthorn_model.ids import Epoch
from posthorn_model.queue_items import DueRecipient, Outcome, RecipientState
from posthorn_smtp_out.classes import classified
from posthorn_smtp_out.protocol.replies import MAX_TEXT, Reply
from posthorn_smtp_out.retry import by_deadline, expired, late, next_due, returned, sooner


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
    delay_notices: Sequence[float] = ()
    """The ages at which the sender is told that a recipient still waits."""


def conclude(
    due: DueRecipient, answer: Answer, *, epoch: Epoch, policy: Policy, now: datetime, notices: int = 0
) -> Outcome:
    """The outcome to write for one recipient, whose sender has had so many notices of delay."""
    reply = answer.reply
    text, status, state, again = reply.text, reply.status, RecipientState.DELIVERED, None
    if reply.permanent:
        state = RecipientState.FAILED
    elif not reply.positive:
        when = sooner if _greylisted(reply) else next_due
        again = by_deadline(due, when(policy.retry, due.attempt + 1, now), now)
        state = RecipientState.WAITING
        if expired(due.created_at, policy.expire, now) or returned(due, now):
            state, again = RecipientState.FAILED, None
            text, status = f"Delivery time expired; last: {text}"[:MAX_TEXT], "5.4.7"
    kind = classified(reply)
    passed = notices_due(due, policy, now) if state is RecipientState.WAITING else 0
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
        reply_class="" if kind is None else kind.value,
        notices=passed if passed > notices else 0,
    )


def notices_due(due: DueRecipient, policy: Policy, now: datetime) -> int:
    """How many notices of delay the sender should have had by now, if a recipient still waits.

    None where NOTIFY is given without DELAY (RFC 3461 4.1), and none about what has no sender.
    """
    if not due.sender or (due.notify is not None and "DELAY" not in due.notify.split(",")):
        return 0
    age = (now - due.created_at).total_seconds()
    return sum(age >= each for each in policy.delay_notices)


def _greylisted(reply: Reply) -> bool:
    """The mailbox cannot be had now (RFC 5321 4.2.3), or policy says later (RFC 6647 2.1): it comes soon, perhaps."""
    return reply.code == 450 or (reply.code == 451 and reply.status.startswith("4.7."))


def wants_report(due: DueRecipient, outcome: Outcome, answer: Answer) -> Action | None:
    """The action to report to the sender: "failed", "delayed", "relayed", "delivered", or None for no report.

    There is never a report to the null reverse-path (RFC 5321 4.5.5), and none that NOTIFY rules out (RFC 3461 4.1).
    """
    wanted = {"FAILURE"} if due.notify is None else set(due.notify.split(","))
    if not due.sender or "NEVER" in wanted:
        return None
    if outcome.noticed or outcome.notices:
        return "delayed"  # RFC 2852 4.1.3: of what is late whatever else NOTIFY says
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
