"""Where delivery status notifications go. The queue stores them in the transaction that writes the outcome.

A report goes out with the null reverse-path and is never answered by another (RFC 5321 4.5.5). One to a sender of the
cluster itself is put straight into the mailbox, unless a script is to see it or it is passed on.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from posthorn_mail_format import summarize
from posthorn_mail_format.reports import Action, DeliveryReport, ReportedRecipient, write_dsn
from posthorn_mail_format.trace import return_path
from posthorn_model.errors import NotFound, TooMany
from posthorn_model.mail import NewMessage
from posthorn_model.queue_items import DueRecipient, NewQueueMessage, NewRecipient, Outcome, Terms, site_of
from posthorn_smtp_out.groups import Group
from posthorn_smtp_out.identities import delivery_id
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.protocol.content import without_return_path
from posthorn_storage import Found
from posthorn_storage.queue import Report


async def write_reports(
    parts: Parts, group: Group, told: Mapping[Action, Sequence[tuple[int, Outcome]]], at: datetime
) -> list[Report]:
    """The messages to store for the actions that are to be reported; empty when there are none. Raises Unavailable."""
    if not told:
        return []
    try:
        original = without_return_path(await parts.storage.blobs.read(None, group.first.blob))
    except NotFound:
        original = b""
    found: list[Report] = []
    due = {recipient.id: recipient for recipient in group.recipients}
    for action, outcomes in told.items():
        times = max(outcome.notices for _, outcome in outcomes)
        which = f"{action}/{times}" if times else action
        identity = delivery_id(group.message, f"{which}/{sorted(number for number, _ in outcomes)}")
        first = group.first
        report = DeliveryReport(
            reporter=parts.hostname,
            sender=f"postmaster@{parts.hostname}",
            recipient=first.sender,
            recipients=[_reported(parts, due[number], outcome, action, at) for number, outcome in outcomes],
            date=at,
            message_id=f"{identity}@{parts.hostname}",
            arrived_at=first.created_at,
            envelope_id=first.envid,
        )
        # RFC 3461 4.3: RET is about failures; other reports carry the header section only.
        content = write_dsn(report, original, return_full=_in_full(first, action))
        found += await _addressed(parts, first, content, identity)
        parts.figures.bounces.labels(action).inc()
    return found


def _in_full(first: DueRecipient, action: Action) -> bool:
    """RFC 3461 4.3; never of what asked for TLS on its whole way (RFC 8689 5)."""
    return first.ret == "FULL" and action == "failed" and not first.terms.require_tls


def _reported(parts: Parts, due: DueRecipient, outcome: Outcome, action: Action, at: datetime) -> ReportedRecipient:
    return ReportedRecipient(
        address=due.address,
        action=action,
        status=outcome.status,
        diagnostic=outcome.reply,
        remote=outcome.remote.partition(" ")[0],
        original=due.orcpt,
        last_attempt=at,
        retry_until=due.created_at + timedelta(seconds=parts.policy.expire) if action == "delayed" else None,
    )


async def _addressed(parts: Parts, first: DueRecipient, content: bytes, identity: UUID) -> list[Report]:
    """As messages to the sender's mailboxes, or as one for the queue; nothing for a local sender who is gone.

    Whose mail goes through a script, or is passed on, has the report from the queue too, as any other mail.
    """
    sender = first.sender
    storage = parts.storage
    if await storage.directory.is_local_domain(sender.rpartition("@")[2]):
        found = await _behind(parts, sender)
        if not found.known:
            parts.log.warning("report dropped: its sender has no mailbox any more", queue_message=first.message)
            return []
        if not (found.remote or found.lists or await storage.sieve.active(found.accounts)):
            content = return_path("") + content
            summary, blob = summarize(content), await storage.blobs.prepare(content, queued=True)
            return [
                NewMessage(each, (), summary, blob, delivery_id=identity, delivered=True) for each in found.accounts
            ]
    site = site_of(sender)
    if site is None:
        return []
    blob = await storage.blobs.prepare(content, queued=True)
    return [
        NewQueueMessage(
            sender="",
            blob=blob,
            recipients=[NewRecipient(sender, site, notify="NEVER")],
            smtputf8=not sender.isascii(),
            eight_bit=not content.isascii(),
            delivery_id=identity,
            terms=Terms(require_tls=first.terms.require_tls),
            signing_domain=site_of(parts.hostname),
        )
    ]


async def _behind(parts: Parts, sender: str) -> Found:
    """Who has the mail of a local sender. One that leads to too many is left to the queue, which says so."""
    try:
        return (await parts.storage.recipients.find([sender]))[sender]
    except TooMany:
        return Found(remote=(sender,))
