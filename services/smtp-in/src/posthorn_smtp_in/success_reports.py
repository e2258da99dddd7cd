"""Success reports for what goes straight into mailboxes (RFC 3461 4.1, 6.2): queued in the transaction that delivers.

All other reports are smtp-out's, which sends this one too.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid5

from posthorn_mail_format.octets import Octets
from posthorn_mail_format.reports import MAX_RETURNED_HEADERS, DeliveryReport, ReportedRecipient, write_dsn
from posthorn_mail_format.trace import return_path
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, site_of
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.commands import Mail
from posthorn_smtp_in.recipients import Recipient


async def success_report(
    parts: Parts, delivery: UUID, mail: Mail, recipients: Sequence[Recipient], content: Octets
) -> NewQueueMessage | None:
    """The report on those of `recipients` that have mailboxes here and ask for it; None when nobody is to be told.

    Never one to the null reverse-path (RFC 5321 4.5.5). Raises Unavailable.
    """
    asking = [each for each in recipients if each.accounts and "SUCCESS" in (each.command.notify or "").split(",")]
    site = site_of(mail.sender) if asking and mail.sender else None
    if site is None:
        return None
    identity = uuid5(delivery, "delivered/" + " ".join(each.command.recipient for each in asking))
    at = datetime.fromtimestamp(parts.clock.time(), UTC)
    report = DeliveryReport(
        reporter=parts.hostname,
        sender=f"postmaster@{parts.hostname}",
        recipient=mail.sender,
        recipients=[_reported(each, at) for each in asking],
        date=at,
        message_id=f"{identity}@{parts.hostname}",
        arrived_at=at,
        envelope_id=mail.envid,
    )
    # RET is about failures; this carries the header section only (RFC 3461 4.3).
    head = content[: 2 * MAX_RETURNED_HEADERS].removeprefix(return_path(mail.sender))
    written = write_dsn(report, head, return_full=False)
    return NewQueueMessage(
        sender="",
        blob=await parts.storage.blobs.prepare(written, queued=True),
        recipients=[NewRecipient(mail.sender, site, notify="NEVER")],
        smtputf8=not mail.sender.isascii(),
        eight_bit=not written.isascii(),
        delivery_id=identity,
        signing_domain=site_of(parts.hostname),
    )


def _reported(recipient: Recipient, at: datetime) -> ReportedRecipient:
    command = recipient.command
    return ReportedRecipient(command.recipient, "delivered", "2.1.5", original=command.orcpt, last_attempt=at)
