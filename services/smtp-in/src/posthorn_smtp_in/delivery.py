"""Flow A, steps 3 to 6: one scan, one blob, one transaction; the replies only once it is committed.

A message that cannot be stored for everybody is stored for nobody (SMTP), or judged recipient by recipient (LMTP). What
becomes of it for a recipient is one of posthorn_smtp_in.outcomes, or several.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid5

from posthorn_delivery import Arrival, file_by_scripts, store
from posthorn_mail_format import summarize
from posthorn_model.errors import AccountNotFound, OverQuota, PosthornError
from posthorn_model.events import QueueDue
from posthorn_model.mail import MessageSummary, PreparedBlob
from posthorn_model.queue_items import NewQueueMessage
from posthorn_smtp_in.errors import reply_to
from posthorn_smtp_in.letter import Letter
from posthorn_smtp_in.outcomes import Work, carried_out
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_smtp_in.recipients import Recipient
from posthorn_smtp_in.recipients.passing import LOOP, goes_round
from posthorn_smtp_in.recipients.room import no_room

IN_THREAD = 262_144
"""Octets of content whose scan would hold up the other sessions for too long."""
GONE = reply(451, "4.2.1", "A mailbox went away meanwhile, try again")


async def deliver(parts: Parts, letter: Letter) -> Reply:
    """Deliver to all recipients in one transaction; returns 250 after its commit.

    Raises Unavailable and other domain errors; then nothing was stored for anybody.
    """
    if goes_round(letter.content, letter.recipients):
        return LOOP
    summary, blob = await _prepare(parts, letter)
    return await _deliver(parts, Work(letter, letter.recipients, letter.delivery, summary, blob))


async def deliver_each(parts: Parts, letter: Letter) -> list[Reply]:
    """Deliver to each recipient on its own; one reply for each, in their order (RFC 2033 4.2)."""
    summary, blob = await _prepare(parts, letter)

    async def one(recipient: Recipient) -> Reply:
        if goes_round(letter.content, [recipient]):
            return LOOP
        identity = uuid5(letter.delivery, recipient.command.recipient)
        try:
            return await _deliver(parts, Work(letter, [recipient], identity, summary, blob))
        except PosthornError as error:
            return reply_to(error)

    # Two addresses of one account are one delivery, and share its reply.
    distinct = {(to.accounts, to.remote, to.lists): to for to in letter.recipients}
    replies = dict(zip(distinct, await asyncio.gather(*map(one, distinct.values())), strict=True))
    return [replies[to.accounts, to.remote, to.lists] for to in letter.recipients]


async def _prepare(parts: Parts, letter: Letter) -> tuple[MessageSummary | None, PreparedBlob]:
    """What mailboxes list of it, None where it goes into none, and its content."""
    accounts = [] if letter.held else [account for to in letter.recipients for account in to.accounts]
    summary = None
    if accounts and len(letter.content) > IN_THREAD:
        summary = await asyncio.to_thread(summarize, letter.content)
    elif accounts:
        await parts.turns.take()
        summary = summarize(letter.content)
    queued = letter.held or any(to.site or to.lists for to in letter.recipients)
    data = letter.content if isinstance(letter.content, bytes) else memoryview(letter.content)
    return summary, await parts.storage.blobs.prepare(data, accounts=accounts, queued=queued, scratch=parts.spool)


async def _deliver(parts: Parts, work: Work) -> Reply:
    """All outcomes for all recipients of the work, the scripts of their accounts, and the one transaction."""
    plain, queued = await carried_out(parts, work)
    arrival = _arrival(work)
    active = await parts.storage.sieve.active(message.account for message in plain)
    filing = await file_by_scripts(parts.scripts, arrival, plain, active)
    if filing.refusal is not None:
        return reply(550, "5.7.1", filing.refusal)
    try:
        queued = await store(parts.scripts, filing, queued)
    except OverQuota as error:
        accounts = [message.account for message in plain]
        return await no_room(parts.storage, error, accounts, len(work.letter.content))
    except AccountNotFound:
        return GONE  # and not the 550 of RCPT, which would send back everybody else's mail too
    _tell_queue(parts, queued)
    return accepted(work.letter.delivery)


def _arrival(work: Work) -> Arrival:
    """What Sieve is told of the message."""
    letter, recipients = work.letter, work.recipients
    return Arrival(
        delivery=letter.delivery,
        sender=letter.mail.sender,
        smtputf8=letter.mail.smtputf8,
        content=letter.content,
        remote=letter.remote,
        junk=letter.junk,
        scores=letter.scores,
        recipients={account: to.command.recipient for to in reversed(recipients) for account in to.accounts},
        alone=len(recipients) == 1 and len(recipients[0].accounts) == 1,
    )


def _tell_queue(parts: Parts, queued: Sequence[NewQueueMessage]) -> None:
    for shard in {parts.storage.queue.shard_of(to.site) for message in queued for to in message.recipients}:
        parts.publish(QueueDue(shard))


def accepted(delivery: UUID) -> Reply:
    """The reply for a message that is taken."""
    return reply(250, "2.6.0", f"Message accepted as {delivery}")
