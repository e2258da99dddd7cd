"""What becomes of a letter for a recipient: one list of outcomes, and what each adds to the transaction that delivers.

Nothing here stores anything, or runs a script: that is posthorn_delivery's, for all messages of the work at once.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from uuid import UUID

from posthorn_model.mail import MessageSummary, NewMessage, PreparedBlob, Role
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, site_of
from posthorn_smtp_in.letter import Letter
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.commands import Rcpt
from posthorn_smtp_in.recipients import Recipient
from posthorn_smtp_in.recipients.passing import passed_to_others
from posthorn_smtp_in.submission.extensions import hold_until, terms_of
from posthorn_smtp_in.success_reports import success_report
from posthorn_storage.codes import LOCAL_SITE


class Outcome(Enum):
    """One recipient may have several: a group with members here and elsewhere, a forward that keeps a copy."""

    HELD = "held"
    """It waits in the queue, whoever it is for; nothing else happens before it is released (RFC 4865)."""
    QUEUE = "queue"
    """It is for another site."""
    LIST = "list"
    """It is for a mailing list, whose members the queue finds."""
    FORWARD = "forward"
    """The address passes it on, with a sender that bounces come back by."""
    MAILBOX = "mailbox"
    """It goes through the scripts of the accounts behind the address, and into their mailboxes."""


def outcomes_of(letter: Letter, to: Recipient) -> Sequence[Outcome]:
    """What becomes of it for a recipient; at least one for any that was accepted."""
    if letter.held:
        return (Outcome.HELD,)
    leads = (
        (Outcome.QUEUE, to.site),
        (Outcome.LIST, to.lists),
        (Outcome.FORWARD, to.remote),
        (Outcome.MAILBOX, to.accounts),
    )
    return tuple(outcome for outcome, there in leads if there)


@dataclass(slots=True)
class Work:
    """A letter for recipients whose replies are one; what its transaction stores grows outcome by outcome."""

    letter: Letter
    recipients: Sequence[Recipient]
    identity: UUID
    """Of what is queued for these recipients."""
    summary: MessageSummary | None
    """None where it goes into no mailbox."""
    blob: PreparedBlob
    messages: list[NewMessage] = field(default_factory=list)
    rows: list[NewRecipient] = field(default_factory=list)
    """Recipients of the letter itself in the queue."""
    queued: list[NewQueueMessage] = field(default_factory=list)
    """Other queue messages."""


async def carried_out(parts: Parts, work: Work) -> tuple[list[NewMessage], list[NewQueueMessage]]:
    """What is to be stored in mailboxes, as without scripts, and what is to be queued. Raises Unavailable."""
    led = [(to, outcomes_of(work.letter, to)) for to in work.recipients]
    for outcome, act in _ACTS.items():
        if concerned := [to for to, outcomes in led if outcome in outcomes]:
            await act(parts, work, concerned)
    own = [_own(work)] if work.rows else []
    return work.messages, [*own, *work.queued]


async def _hold(_parts: Parts, work: Work, recipients: Sequence[Recipient]) -> None:
    work.rows += [_row(to.command, to.site or LOCAL_SITE) for to in recipients]


async def _queue(_parts: Parts, work: Work, recipients: Sequence[Recipient]) -> None:
    work.rows += [_row(to.command, to.site) for to in recipients]


async def _post(_parts: Parts, work: Work, recipients: Sequence[Recipient]) -> None:
    lists = [(replace(to.command, recipient=each), LOCAL_SITE) for to in recipients for each in to.lists]
    work.rows += [_row(command, site) for command, site in lists]


async def _forward(parts: Parts, work: Work, recipients: Sequence[Recipient]) -> None:
    work.queued += await passed_to_others(parts, work.letter, work.identity, recipients)


async def _file(parts: Parts, work: Work, recipients: Sequence[Recipient]) -> None:
    """One message for each account, however many of the recipients lead to it, and the report of success."""
    letter = work.letter
    assert work.summary is not None
    named = {account: to.mailboxes.get(account) for to in reversed(recipients) for account in to.accounts}
    # Junk goes into each account's mailbox for it; the inbox takes it where there is none.
    places = await parts.storage.mail.mailboxes_with(Role.JUNK, named) if letter.junk else named
    dedupe = letter.repeat_digest()
    for account in named:
        mailbox = places.get(account)
        work.messages.append(
            NewMessage(
                account=account,
                mailboxes=() if mailbox is None else (mailbox,),
                summary=work.summary,
                blob=work.blob,
                delivery_id=letter.delivery,
                dedupe=dedupe,
                delivered=True,
            )
        )
    report = await success_report(parts, letter.delivery, letter.mail, recipients, letter.content)
    work.queued += [] if report is None else [report]


Act = Callable[[Parts, Work, Sequence[Recipient]], Awaitable[None]]
_ACTS: Mapping[Outcome, Act] = {
    Outcome.HELD: _hold,
    Outcome.QUEUE: _queue,
    Outcome.LIST: _post,
    Outcome.FORWARD: _forward,
    Outcome.MAILBOX: _file,
}


def _row(command: Rcpt, site: str) -> NewRecipient:
    return NewRecipient(command.recipient, site, command.notify, command.orcpt)


def _own(work: Work) -> NewQueueMessage:
    """The letter itself in the queue: for other sites, for lists, and while it is held for everybody."""
    letter = work.letter
    return NewQueueMessage(
        sender=letter.mail.sender,
        blob=work.blob,
        recipients=work.rows,
        hold_until=hold_until(letter.mail.requests, letter.at),
        terms=terms_of(letter.mail.requests, letter.at),
        account=letter.account,
        smtputf8=letter.mail.smtputf8,
        eight_bit=letter.mail.eight_bit,
        ret=letter.mail.ret,
        envid=letter.mail.envid,
        delivery_id=work.identity,
        signing_domain=(site_of(letter.mail.sender) or None) if letter.signs else None,
    )
