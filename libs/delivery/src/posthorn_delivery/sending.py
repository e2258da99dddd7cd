"""What actions send: redirected messages, answers, notifications, reports of a rejection. All of it only queued."""

from datetime import UTC, datetime
from uuid import UUID, uuid5

from posthorn_delivery.evaluation import Subject
from posthorn_delivery.scripts import Scripts
from posthorn_delivery.sealing import REDIRECTED
from posthorn_mail_format.headers import decode_text, iterate
from posthorn_mail_format.reports import DeliveryReport, ReportedRecipient, write_dsn
from posthorn_mail_format.trace import return_path
from posthorn_model.errors import Unavailable
from posthorn_model.lookup import lookup_key
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, site_of
from posthorn_sieve.actions import Notify, Redirect, Reject, Vacation
from posthorn_sieve.answers import Occasion, notification, vacation_answer


async def redirected(scripts: Scripts, subject: Subject, action: Redirect, *, smtputf8: bool) -> NewQueueMessage | None:
    """The message on its way to another address, from its own sender (RFC 5228 4.2)."""
    content = subject.content if action.content is None else action.content
    mark = f"{REDIRECTED}: {subject.recipient.lower()}\r\n".encode()
    sent = mark + content.removeprefix(return_path(subject.sender))
    return await _queued(
        scripts,
        uuid5(subject.delivery, f"sieve/redirect/{subject.account}/{action.address}"),
        subject.sender,
        (action.address,),
        # Results are the script's to write by now, if it has changed anything.
        sent if action.content is not None else await scripts.sealer.sealed(sent, subject.recipient, subject.content),
        smtputf8=smtputf8,
        notify=None,
    )


def came_back(subject: Subject) -> bool:
    """Whether this address sent the message on before."""
    name = REDIRECTED.lower().encode()
    own = subject.recipient.lower()
    return any(
        decode_text(field.value).strip().lower() == own
        for field in iterate(subject.content)
        if field.name.lower() == name
    )


async def answered(scripts: Scripts, subject: Subject, action: Vacation) -> tuple[NewQueueMessage | None, str | None]:
    """The answer of vacation, and the key of the memory that says so; no answer to whom has had it (RFC 5230 4.1).

    The memory is written before the answer is queued: two deliveries at once lead to one answer. It says which: whoever
    repeats the delivery after a kill queues the same answer, once. A key is returned only where it was written now.
    """
    key = lookup_key("sieve-vacation", str(subject.account), action.recipient.lower(), action.handle.hex())
    identity = uuid5(subject.delivery, f"sieve/vacation/{subject.account}")
    known = None
    if action.seconds:
        try:
            known = await scripts.storage.lookup.add(key, identity.bytes, float(action.seconds))
        except Unavailable:
            return None, None  # nobody would remember it: rather no answer than a hundred
        if known not in (None, identity.bytes):
            return None, None
    content = vacation_answer(action, _occasion(scripts, identity, subject))
    signs = site_of(subject.recipient)
    queued = await _queued(scripts, identity, "", (action.recipient,), content, signing_domain=signs)
    return queued, key if action.seconds and known is None else None


async def notified(scripts: Scripts, subject: Subject, action: Notify, number: int) -> NewQueueMessage | None:
    """The mail of a notification (RFC 5436)."""
    identity = uuid5(subject.delivery, f"sieve/notify/{subject.account}/{number}")
    content = notification(action, _occasion(scripts, identity, subject))
    return await _queued(scripts, identity, "", action.recipients, content, signing_domain=site_of(subject.recipient))


async def rejected(scripts: Scripts, subject: Subject, action: Reject) -> NewQueueMessage | None:
    """The report that a recipient refuses the message (RFC 5429 2.1.2): where no reply can say so."""
    if not subject.sender:
        return None
    identity = uuid5(subject.delivery, f"sieve/reject/{subject.account}")
    at = datetime.fromtimestamp(scripts.clock.time(), UTC)
    report = DeliveryReport(
        reporter=scripts.hostname,
        sender=f"postmaster@{scripts.hostname}",
        recipient=subject.sender,
        recipients=[ReportedRecipient(subject.recipient, "failed", "5.7.1", diagnostic=action.reason)],
        date=at,
        message_id=f"{identity}@{scripts.hostname}",
        arrived_at=at,
    )
    content = write_dsn(report, subject.content.removeprefix(return_path(subject.sender)), return_full=False)
    return await _queued(scripts, identity, "", (subject.sender,), content, signing_domain=site_of(scripts.hostname))


def _occasion(scripts: Scripts, identity: UUID, subject: Subject) -> Occasion:
    return Occasion(
        content=subject.content,
        owner=subject.recipient,
        date=datetime.fromtimestamp(scripts.clock.time(), UTC),
        message_id=f"{identity}@{scripts.hostname}",
    )


async def _queued(
    scripts: Scripts,
    identity: UUID,
    sender: str,
    addresses: tuple[str, ...],
    content: bytes,
    *,
    smtputf8: bool = False,
    notify: str | None = "NEVER",
    signing_domain: str | None = None,
) -> NewQueueMessage | None:
    """A message to these addresses; None when none of them can be sent to. What is only passed on is not signed."""
    sites = [(address, site_of(address)) for address in addresses]
    recipients = [NewRecipient(address, site, notify=notify) for address, site in sites if site is not None]
    if not recipients:
        return None
    return NewQueueMessage(
        sender=sender,
        blob=await scripts.storage.blobs.prepare(content, queued=True),
        recipients=recipients,
        smtputf8=smtputf8 or not all(address.isascii() for address in (sender, *addresses)),
        eight_bit=not content.isascii(),
        delivery_id=identity,
        signing_domain=signing_domain,
    )
