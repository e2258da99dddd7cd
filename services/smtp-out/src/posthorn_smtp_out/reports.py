"""Where delivery status notifications go. The queue stores them in the transaction that writes the outcome.

A report goes out with the null reverse-path and is never answered by another (RFC 5321 4.5.5). One to a sender of the
cluster itself is put straight into the mailbox.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from posthorn_mail_format import summarize
from posthorn_model.errors import NotFound
from posthorn_model.mail import NewMessage
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Outcome
from posthorn_smtp_out.groups import Group
from posthorn_smtp_out.ledger import Stored
from posthorn_smtp_out.mailboxes import delivery_id
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.protocol.content import without_return_path
from posthorn_smtp_out.report_text import Report, compose


async def write_reports(
    parts: Parts, group: Group, told: Mapping[str, Sequence[tuple[int, Outcome]]], at: datetime
) -> list[Stored]:
    """The messages to store for the actions that are to be reported; empty when there are none. Raises Unavailable."""
    if not told:
        return []
    try:
        original = without_return_path(await parts.storage.blobs.read(group.first.blob))
    except NotFound:
        original = b""
    found: list[Stored] = []
    due = {recipient.id: recipient for recipient in group.recipients}
    for action, outcomes in told.items():
        identity = delivery_id(group.message, f"{action}/{sorted(number for number, _ in outcomes)}")
        report = Report(
            action=action,
            recipients=[(due[number], outcome) for number, outcome in outcomes],
            original=original,
            hostname=parts.hostname,
            at=at,
            identity=str(identity),
        )
        found += await _addressed(parts, group.first.sender, compose(report), identity)
        parts.figures.bounces.labels(action).inc()
    return found


async def _addressed(parts: Parts, sender: str, content: bytes, identity: UUID) -> list[Stored]:
    """As messages to the sender's mailboxes, or as one for the queue; nothing for a local sender who is gone."""
    domain = sender.rpartition("@")[2]
    storage = parts.storage
    if await storage.directory.is_local_domain(domain):
        content = b"Return-Path: <>\r\n" + content
        summary, blob = summarize(content), await storage.blobs.prepare(content)
        accounts = (await storage.directory.resolve([sender]))[sender]
        return [NewMessage(account, (), summary, blob, delivery_id=identity, delivered=True) for account in accounts]
    site = _site(domain)
    if site is None:
        return []
    blob = await storage.blobs.prepare(content)
    smtputf8 = not sender.isascii()
    recipient = NewRecipient(sender, site, notify="NEVER")
    return [NewQueueMessage("", blob, [recipient], smtputf8=smtputf8, eight_bit=True, delivery_id=identity)]


def _site(domain: str) -> str | None:
    if domain.startswith("["):
        return domain
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
