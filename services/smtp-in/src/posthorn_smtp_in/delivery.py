"""Flow A, steps 3 to 6: one scan, one blob, one transaction; the replies only once it is committed.

A message that cannot be stored for everybody is stored for nobody (SMTP), or judged recipient by recipient (LMTP).
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID, uuid5

from posthorn_delivery import NOT_SCORED, Arrival, Filing, Scores, file_by_scripts, store
from posthorn_mail_format import summarize
from posthorn_mail_format.octets import Octets
from posthorn_model.errors import OverQuota, PosthornError
from posthorn_model.events import QueueDue
from posthorn_model.ids import AccountId
from posthorn_model.mail import MessageSummary, NewMessage, PreparedBlob, Role
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, site_of
from posthorn_smtp_in.errors import reply_to
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.commands import Mail
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_smtp_in.recipients import Recipient
from posthorn_smtp_in.recipients.passing import LOOP, goes_round, passing_on
from posthorn_smtp_in.recipients.room import no_room
from posthorn_smtp_in.submission.extensions import hold_until, terms_of
from posthorn_smtp_in.success_reports import success_report
from posthorn_storage.codes import LOCAL_SITE

IN_THREAD = 262_144
"""Octets of content whose scan would hold up the other sessions for too long."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that was judged good: envelope, content with its trace fields, and who sent it."""

    delivery: UUID
    mail: Mail
    recipients: Sequence[Recipient]
    content: Octets
    client_digest: bytes
    """SHA-256 of the content as the client sent it."""
    account: AccountId | None
    junk: bool = False
    """It goes into the mailbox for junk."""
    scores: Scores = NOT_SCORED
    """What content filters found."""
    remote: str = ""
    """The client's IP address, "" for a local socket."""
    at: float = 0.0
    """Seconds since 1970 when it was complete: what is asked of the queue counts from then."""

    @property
    def held(self) -> bool:
        """It waits in the queue for everybody, mailboxes of the cluster too (RFC 4865)."""
        return self.mail.requests.holds


async def deliver(parts: Parts, letter: Letter) -> Reply:
    """Deliver to all recipients in one transaction; returns 250 after its commit.

    Raises OverQuota, Unavailable and other domain errors; then nothing was stored for anybody.
    """
    if goes_round(letter.content, letter.recipients):
        return LOOP
    summary, blob = await _prepare(parts, letter)
    elsewhere = [*_outgoing(letter, blob), *await passing_on(parts, letter)]
    plain = await _placed(parts, letter, _messages(letter, summary, blob, letter.recipients))
    if plain:
        report = await _report(parts, letter, letter.recipients)
        filing = await _filed(parts, _arrival(letter, letter.recipients), plain)
        if filing.refusal is not None:
            return reply(550, "5.7.1", filing.refusal)
        try:
            queued = await store(parts.scripts, filing, [*elsewhere, *report])
        except OverQuota as error:
            accounts = [message.account for message in plain]
            return await no_room(parts.storage, error, accounts, len(letter.content))
        _tell_queue(parts, queued)
    elif elsewhere:
        await parts.storage.mail.deliver([], enqueue=elsewhere)
        _tell_queue(parts, elsewhere)
    return accepted(letter.delivery)


async def deliver_each(parts: Parts, letter: Letter) -> list[Reply]:
    """Deliver to each recipient on its own; one reply for each, in their order (RFC 2033 4.2)."""
    summary, blob = await _prepare(parts, letter)

    async def one(recipient: Recipient) -> Reply:
        try:
            if goes_round(letter.content, [recipient]):
                return LOOP
            plain = await _placed(parts, letter, _messages(letter, summary, blob, [recipient]))
            alone = replace(
                letter, recipients=[recipient], delivery=uuid5(letter.delivery, recipient.command.recipient)
            )
            elsewhere = [*_outgoing(alone, blob), *await passing_on(parts, alone)]
            report = await _report(parts, letter, [recipient])
            filing = await _filed(parts, _arrival(letter, [recipient]), plain)
            if filing.refusal is not None:
                return reply(550, "5.7.1", filing.refusal)
            queued = await store(parts.scripts, filing, [*elsewhere, *report])
        except OverQuota as error:
            return await no_room(parts.storage, error, recipient.accounts, len(letter.content))
        except PosthornError as error:
            return reply_to(error)
        _tell_queue(parts, queued)
        return accepted(letter.delivery)

    # Two addresses of one account are one delivery, and share its reply.
    distinct = {(to.accounts, to.remote, to.lists): to for to in letter.recipients}
    replies = dict(zip(distinct, await asyncio.gather(*map(one, distinct.values())), strict=True))
    return [replies[to.accounts, to.remote, to.lists] for to in letter.recipients]


async def _prepare(parts: Parts, letter: Letter) -> tuple[MessageSummary, PreparedBlob]:
    if len(letter.content) > IN_THREAD:
        summary = await asyncio.to_thread(summarize, letter.content)
    else:
        summary = summarize(letter.content)
    accounts = [] if letter.held else [account for to in letter.recipients for account in to.accounts]
    queued = letter.held or any(to.site or to.lists for to in letter.recipients)
    data = letter.content if isinstance(letter.content, bytes) else memoryview(letter.content)
    return summary, await parts.storage.blobs.prepare(data, accounts=accounts, queued=queued, scratch=parts.spool)


async def _filed(parts: Parts, arrival: Arrival, plain: Sequence[NewMessage]) -> Filing:
    active = await parts.storage.sieve.active(arrival.recipients)
    return await file_by_scripts(parts.scripts, arrival, plain, active)


async def _report(parts: Parts, letter: Letter, recipients: Sequence[Recipient]) -> list[NewQueueMessage]:
    report = await success_report(parts, letter.delivery, letter.mail, recipients, letter.content)
    return [] if report is None else [report]


def _tell_queue(parts: Parts, queued: Sequence[NewQueueMessage]) -> None:
    for shard in {parts.storage.queue.shard_of(to.site) for message in queued for to in message.recipients}:
        parts.publish(QueueDue(shard))


def accepted(delivery: UUID) -> Reply:
    """The reply for a message that is taken."""
    return reply(250, "2.6.0", f"Message accepted as {delivery}")


async def _placed(parts: Parts, letter: Letter, messages: list[NewMessage]) -> list[NewMessage]:
    """Junk goes into each account's mailbox for it; the inbox takes it where there is none."""
    if not letter.junk:
        return messages
    found = []
    for message in messages:
        boxes = await parts.storage.mail.mailboxes(message.account)
        junk = tuple(box.id for box in boxes if box.role is Role.JUNK)
        found.append(replace(message, mailboxes=junk[:1]))
    return found


def _arrival(letter: Letter, recipients: Sequence[Recipient]) -> Arrival:
    """What Sieve is told of the message."""
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


def _messages(
    letter: Letter, summary: MessageSummary, blob: PreparedBlob, recipients: Sequence[Recipient]
) -> list[NewMessage]:
    """One message for each account, however many of the recipients lead to it; none while it is held."""
    if letter.held:
        return []
    accounts = {account: to.mailboxes.get(account) for to in reversed(recipients) for account in to.accounts}
    dedupe = repeat_digest(letter)
    return [
        NewMessage(
            account=account,
            mailboxes=() if mailbox is None else (mailbox,),
            summary=summary,
            blob=blob,
            delivery_id=letter.delivery,
            dedupe=dedupe,
            delivered=True,
        )
        for account, mailbox in accounts.items()
    ]


def repeat_digest(letter: Letter) -> bytes:
    """What a repeat of the same message by the same client has in common with it (decision 0005)."""
    sender = letter.mail.sender.encode("utf-8", "surrogateescape")
    return hashlib.sha256(len(sender).to_bytes(4, "big") + sender + letter.client_digest).digest()


def _outgoing(letter: Letter, blob: PreparedBlob) -> Sequence[NewQueueMessage]:
    """The message for other sites, for lists, and while it is held for everybody; none when nobody is left."""
    remote = [(to.command, to.site or LOCAL_SITE) for to in letter.recipients if to.site or letter.held]
    if not letter.held:
        remote += [(replace(to.command, recipient=each), LOCAL_SITE) for to in letter.recipients for each in to.lists]
    if not remote:
        return ()
    message = NewQueueMessage(
        sender=letter.mail.sender,
        blob=blob,
        recipients=[NewRecipient(to.recipient, site, to.notify, to.orcpt) for to, site in remote],
        hold_until=hold_until(letter.mail.requests, letter.at),
        terms=terms_of(letter.mail.requests, letter.at),
        account=letter.account,
        smtputf8=letter.mail.smtputf8,
        eight_bit=letter.mail.eight_bit,
        ret=letter.mail.ret,
        envid=letter.mail.envid,
        delivery_id=letter.delivery,
        # Only who has logged in is known to be of the domain: what is passed on for others is never signed as theirs.
        signing_domain=None if letter.account is None else site_of(letter.mail.sender) or None,
    )
    return (message,)
