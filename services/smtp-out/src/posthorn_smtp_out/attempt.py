"""Flow C: one attempt for one message at one site, from the connection to the written outcome."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from posthorn_mail_format.reports import Action
from posthorn_model.errors import NotFound, PosthornError
from posthorn_model.queue_items import DueRecipient, Outcome, RecipientState
from posthorn_smtp_out.brakes import Paused
from posthorn_smtp_out.groups import Group
from posthorn_smtp_out.ledger import PAUSE
from posthorn_smtp_out.mailboxes import deliver_locally
from posthorn_smtp_out.outcomes import Answer, conclude, notices_due, wants_report
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.pool import BackingOff, NotNow, Pool, Unreachable
from posthorn_smtp_out.protocol.content import in_lines, is_eight_bit, needs_no_tls, without_return_path
from posthorn_smtp_out.protocol.envelope import Envelope, EnvelopeRecipient
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_smtp_out.protocol.transaction import Transaction
from posthorn_smtp_out.remote import Remote
from posthorn_smtp_out.reports import write_reports
from posthorn_smtp_out.resolver import NoRoute
from posthorn_smtp_out.retry import by_deadline, expired, returned
from posthorn_smtp_out.routes import Destination, relaxed, verified
from posthorn_smtp_out.tenure import Tenure

BeforeEnd = Callable[[Sequence[int]], Awaitable[bool]]
"""Writes the intent for these recipients; says whether the final dot may be sent (C.3)."""
TOO_LATE = Answer(Reply(554, ("5.4.7 Not delivered within the time that the sender set",)))
SMALL = 65_536
"""Octets of content that is read together with others'."""
NO_CONTENT = Reply(554, ("5.3.0 The stored content is missing",))


async def attempt(parts: Parts, tenure: Tenure, group: Group) -> None:
    """Make one attempt and write its outcome. Never raises for what remote, DNS or store do, but NotNow."""
    log = parts.log.bind(queue_message=group.message, site=group.site)
    doubtful = [recipient.id for recipient in group.recipients if recipient.in_doubt]
    if doubtful:
        parts.figures.in_doubt.inc(len(doubtful))
        log.warning("sending again what may have arrived", recipients=doubtful)
    began = parts.clock.monotonic()
    started: set[int] = set()

    async def before_end(recipients: Sequence[int]) -> bool:
        started.update(recipients)
        return await tenure.ledger.start(recipients)

    suppressed: Mapping[int, Answer] = {}
    try:
        suppressed = await parts.suppressing.answers(group)
        going = group.without(suppressed)
        if going is None:
            answers: Mapping[int, Answer] = {}
        elif _too_late(parts, group):
            answers = _same(group, TOO_LATE)
        else:
            answers = await _deliver(parts, tenure, going, before_end)
    except Paused:
        return
    except NotNow:
        raise
    except BackingOff as error:
        if not may_wait(parts, group) or started:
            answers = _same(group, Answer(error.reply))
        else:
            await postpone(parts, tenure, [group], error)
            return
    except (NoRoute, Unreachable) as error:
        remote = error.remote if isinstance(error, Unreachable) else ""
        answers = _same(group, Answer(error.reply, remote))
    except NotFound:
        answers = _same(group, Answer(NO_CONTENT))
    except PosthornError as error:
        # Also when the store does not answer: it may have put the rows in flight all the same, so they need an outcome.
        answers = _same(group, Answer(Reply(451, (f"4.3.0 {error.public}",))))
    except Exception:
        reference = uuid.uuid4().hex[:12]
        parts.figures.bugs.inc()
        log.exception("attempt failed", reference=reference)
        answers = _same(group, Answer(Reply(451, (f"4.3.0 Internal error, reference {reference}",))))
    await tenure.ledger.note_attempt([recipient.id for recipient in group.recipients if recipient.id not in started])
    await _record(parts, tenure, group, {**answers, **suppressed})
    parts.figures.seconds.observe(parts.clock.monotonic() - began)


def may_wait(parts: Parts, group: Group) -> bool:
    """Whether a message can be put off without an attempt: it has not expired, and nothing of it is in doubt."""
    now = datetime.fromtimestamp(parts.clock.time(), UTC)
    doubtful = any(recipient.in_doubt for recipient in group.recipients)
    return (
        not doubtful
        and not returned(group.first, now)
        and not expired(group.first.created_at, parts.policy.expire, now)
    )


async def postpone(parts: Parts, tenure: Tenure, groups: Sequence[Group], why: BackingOff) -> None:
    """Put messages off, without an attempt, until their destination is approached again. Raises Unavailable."""
    now = datetime.fromtimestamp(parts.clock.time(), UTC)
    again = now + timedelta(seconds=why.seconds)
    recipients = [recipient for group in groups for recipient in group.recipients]
    due = {recipient.id: by_deadline(recipient, again, now) for recipient in recipients}
    await parts.storage.queue.postpone(due, tenure.shard, tenure.lease.epoch, why.reply.status, why.reply.text)
    parts.figures.postponed.inc(len(due))


def _too_late(parts: Parts, group: Group) -> bool:
    return returned(group.first, datetime.fromtimestamp(parts.clock.time(), UTC))


async def _deliver(parts: Parts, tenure: Tenure, group: Group, before_end: BeforeEnd) -> Mapping[int, Answer]:
    parts.brakes.check(group.site)
    destination = None if group.site == "local" else parts.router.destination(group.site)
    if destination is None or await parts.storage.directory.is_local_domain(group.site):
        parts.figures.attempts.labels("local").inc()
        return await deliver_locally(parts, group)
    parts.figures.attempts.labels("relay" if destination.relay else "direct").inc()
    if group.first.terms.require_tls:
        destination = verified(destination)
    content = in_lines(without_return_path(await _content(parts, group.first)))
    if not destination.verified and needs_no_tls(content):
        destination = relaxed(destination)
    content = await parts.signer.signed(group.first, content)
    answers: dict[int, Answer] = {}
    left = group
    while True:
        try:
            transaction, found = await _send(parts, tenure, left, destination, content, before_end)
        except Exception as error:
            if not answers:
                raise
            # What came of the others stands; the rest waits with the reply it has.
            parts.log.info("the rest waits", queue_message=group.message, reason=str(error))
            return answers
        answers |= found
        if not transaction.crowded:
            return answers
        # RFC 5321 4.5.3.1.10: the rest at once, in a transaction of its own.
        left = replace(left, recipients=[each for each in left.recipients if each.id in transaction.crowded])


async def _content(parts: Parts, due: DueRecipient) -> bytes:
    """As it was queued: small ones together with others'. Raises NotFound, Unavailable, Overloaded."""
    if due.size <= SMALL:
        return await parts.attempts.content(due.blob)
    return await parts.storage.blobs.read(None, due.blob)


async def _send(
    parts: Parts, tenure: Tenure, group: Group, destination: Destination, content: bytes, before_end: BeforeEnd
) -> tuple[Transaction, Mapping[int, Answer]]:
    """C.2 to C.4: connection, envelope, the intent on record, the final dot, the reply."""
    source = parts.sources.chosen(destination, group.first.sender)
    pool = tenure.pool(destination)
    async with pool.connection(destination, source, tenure.may_start) as remote:
        parts.brakes.check(group.site)  # it may have waited long for the connection
        spent = await parts.warming.take(source.name)
        if spent is None:
            now = datetime.fromtimestamp(parts.clock.time(), UTC)
            transaction = Transaction(_envelope(group, content, now), remote.capabilities)
            uncertain = await remote.send(transaction, content, before_end)
            _learn(pool, destination, transaction)
            if uncertain:
                parts.figures.in_doubt.inc(len(transaction.accepted))
                parts.log.warning(
                    "the connection ended before the reply to the content",
                    queue_message=group.message,
                    remote=remote.name,
                )
            return transaction, {identity: _answer(remote, reply) for identity, reply in transaction.replies.items()}
    raise spent


def _learn(pool: Pool, destination: Destination, transaction: Transaction) -> None:
    """What the replies say about the destination as a whole."""
    replies = transaction.replies.values()
    closing = next((reply for reply in replies if reply.code == 421), None)
    if closing is not None:
        pool.refused(destination, closing)
    elif any(reply.positive for reply in replies):
        pool.pace(destination).went_well()
    if transaction.crowded:
        pool.pace(destination).took_only(len(transaction.accepted))


def _answer(remote: Remote, reply: Reply) -> Answer:
    return Answer(
        reply=reply,
        remote=remote.name,
        tls=remote.tls or None,
        relayed_without_dsn=reply.positive and not remote.capabilities.dsn,
    )


def _envelope(group: Group, content: bytes, now: datetime) -> Envelope:
    first, terms = group.first, group.first.terms
    left = None if terms.deliver_by is None else int((terms.deliver_by - now).total_seconds())
    return Envelope(
        sender=first.sender,
        recipients=[
            EnvelopeRecipient(recipient.id, recipient.address, recipient.notify, recipient.orcpt)
            for recipient in group.recipients
        ],
        size=len(content),
        eight_bit=is_eight_bit(content),
        smtputf8=first.smtputf8,
        ret=first.ret,
        envid=first.envid,
        by=left,
        by_return=terms.by_return,
        by_trace=terms.by_trace,
        priority=terms.priority,
        require_tls=terms.require_tls,
    )


def _same(group: Group, answer: Answer) -> Mapping[int, Answer]:
    return {recipient.id: answer for recipient in group.recipients}


async def _record(parts: Parts, tenure: Tenure, group: Group, answers: Mapping[int, Answer]) -> None:
    """C.5 and C.6: one outcome for each recipient, and the reports to the sender, in one transaction."""
    now = datetime.fromtimestamp(parts.clock.time(), UTC)
    outcomes: list[Outcome] = []
    told: dict[Action, list[tuple[int, Outcome]]] = {}
    notices = await _notices(parts, group, now)
    for recipient in group.recipients:
        answer, had = answers[recipient.id], notices.get(recipient.id, 0)
        outcome = conclude(recipient, answer, epoch=tenure.lease.epoch, policy=parts.policy, now=now, notices=had)
        outcomes.append(outcome)
        action = wants_report(recipient, outcome, answer)
        if action is not None:
            told.setdefault(action, []).append((recipient.id, outcome))
        _count(parts, recipient, outcome)
        parts.log.info(
            "attempt",
            queue_message=group.message,
            recipient=recipient.address,
            attempt=recipient.attempt + 1,
            outcome=_label(outcome),
            status=outcome.status,
            reply=outcome.reply,
            remote=outcome.remote,
            tls=outcome.tls,
            reply_class=outcome.reply_class or None,
        )
    while tenure.lease.is_valid():
        try:
            reports = await write_reports(parts, group, told, now)
        except PosthornError as error:
            parts.log.warning("reports wait for the store", reason=error.public)
            await asyncio.sleep(PAUSE)
        else:
            await tenure.ledger.finish(outcomes, reports)
            await parts.suppressing.learn(group.recipients, outcomes)
            return
    tenure.ledger.give_up(outcomes)


async def _notices(parts: Parts, group: Group, now: datetime) -> Mapping[int, int]:
    """How many notices of delay were sent, of those that may be due one; when nobody can tell, all of them were."""
    due = {each.id: count for each in group.recipients if (count := notices_due(each, parts.policy, now))}
    try:
        return await parts.storage.queue.notices(due) if due else {}
    except PosthornError:
        return due


def _count(parts: Parts, due: DueRecipient, outcome: Outcome) -> None:
    parts.figures.replies.labels(_label(outcome)).inc()
    if outcome.reply_class:
        parts.figures.classes.labels(_label(outcome), outcome.reply_class).inc()
    if outcome.state is RecipientState.FAILED and not due.sender:
        parts.figures.double_bounces.inc()
        parts.log.warning(
            "double bounce dropped",
            queue_message=due.message,
            recipient=due.address,
            status=outcome.status,
            reply=outcome.reply,
        )


def _label(outcome: Outcome) -> str:
    return "deferred" if outcome.state is RecipientState.WAITING else outcome.state.name.lower()
