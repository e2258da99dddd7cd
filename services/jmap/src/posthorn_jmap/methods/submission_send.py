"""One submission (RFC 8621 7.5): read, check who may send what to whom, then deliver and queue in one transaction."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from posthorn_jmap.context import Context
from posthorn_jmap.methods.submission_message import Head, head_of, needs_smtputf8, sent
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.errors import SetError, invalid_properties
from posthorn_mail_format import summarize
from posthorn_mail_format.addresses import parse_mailbox
from posthorn_mail_format.trace import return_path
from posthorn_model.errors import InvalidAddress
from posthorn_model.events import QueueDue
from posthorn_model.ids import MessageId
from posthorn_model.mail import NewMessage
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, site_of
from posthorn_storage import Found, Identity
from posthorn_storage.codes import LOCAL_SITE
from posthorn_storage.mail import MessageFields, StoredMessage
from posthorn_storage.submissions import NewSubmission, Submission

_KNOWN = {"identityId", "emailId", "envelope", "sendAt", "undoStatus"}


@dataclass(frozen=True, slots=True)
class Route:
    """Where the recipients are: accounts of this cluster by address, and everybody else's with their site."""

    local: Mapping[str, Found]
    """Those whose mailboxes have it at once."""
    remote: Sequence[NewRecipient]


async def submit(context: Context, value: dict[str, Any]) -> Submission:
    """Send an email. Raises SetError; then nothing was sent to anybody."""
    identity, message = await _read(context, value)
    if message.size > context.settings.max_message_size:
        raise SetError("tooLarge", "the email is too large to be sent", maxSize=context.settings.max_message_size)
    raw = await context.storage.blobs.read(context.account.id, message.blob)
    if b"\0" in raw:
        raise SetError("invalidEmail", "an email with NUL octets cannot be sent", properties=[])
    head = head_of(raw)
    envelope = await _envelope(context, value.get("envelope"), identity, head)
    await _check_authors(context, head)
    route = await _route(context, [to["email"] for to in envelope["rcptTo"]])
    return await _send(context, NewSubmission(
        context.account.id, identity.id, message.id, message.thread, envelope
    ), raw, route)  # fmt: skip


async def _read(context: Context, value: dict[str, Any]) -> tuple[Identity, StoredMessage]:
    unknown = sorted(set(value) - _KNOWN)
    if unknown:
        raise invalid_properties("cannot be set", *unknown)
    if value.get("undoStatus") not in (None, "pending", "final"):
        raise invalid_properties("a new submission is not canceled", "undoStatus")
    if value.get("sendAt") is not None:
        raise invalid_properties("the server sets it; sending later is not supported (maxDelayedSend 0)", "sendAt")
    number = ids.from_wire("i", _real(context, value.get("identityId")))
    identities = await context.storage.directory.identities(context.account.id)
    identity = next((one for one in identities if one.id == number), None)
    if identity is None:
        raise invalid_properties("no such identity", "identityId")
    email = ids.from_wire("e", _real(context, value.get("emailId")))
    found = await context.storage.mail.messages(
        context.account.id, [] if email is None else [MessageId(email)], MessageFields.NONE
    )
    if not found:
        raise invalid_properties("no such email", "emailId")
    return identity, found[0]


def _real(context: Context, value: Any) -> Any:
    return context.real_id(value) if isinstance(value, str) else value


async def _envelope(context: Context, given: Any, identity: Identity, head: Head) -> dict[str, Any]:
    """The envelope as given, or from the header; checked for syntax, number and the right to send."""
    envelope = _default(head) if given is None else _given(given)
    sender = envelope["mailFrom"]["email"]
    if given is None and not await _may_send_as(context, sender):
        # RFC 8621 7.5: an address of the header that the identity may not use gives way to the identity's own.
        envelope["mailFrom"]["email"] = sender = identity.email
    if not _is_address(sender) or not await _may_send_as(context, sender):
        raise SetError("forbiddenMailFrom", "that is not an address of this account")
    recipients = [to["email"] for to in envelope["rcptTo"]]
    if not recipients:
        raise SetError("noRecipients", "nobody to send it to")
    if len(recipients) > context.settings.max_recipients:
        raise SetError("tooManyRecipients", "too many recipients", maxRecipients=context.settings.max_recipients)
    invalid = [address for address in recipients if not _is_address(address)]
    if invalid:
        raise SetError("invalidRecipients", "not addresses that mail can be sent to", invalidRecipients=invalid)
    return envelope


def _default(head: Head) -> dict[str, Any]:
    sender = head.senders[0] if len(head.senders) == 1 else ""
    if len(head.senders) > 1:
        raise SetError("invalidEmail", "several senders: name one in Sender or in the envelope", properties=["sender"])
    return {
        "mailFrom": {"email": sender, "parameters": None},
        "rcptTo": [{"email": address, "parameters": None} for address in head.recipients],
    }


def _given(value: Any) -> dict[str, Any]:
    match value:
        case {"mailFrom": sender, "rcptTo": [*recipients], **rest} if not rest:
            found = [_path(one) for one in recipients]
            kept = {to["email"]: to for to in found}
            return {"mailFrom": _path(sender), "rcptTo": list(kept.values())}
    raise invalid_properties("an envelope has mailFrom and rcptTo", "envelope")


def _path(value: Any) -> dict[str, Any]:
    match value:
        case {"email": str(email), **rest} if set(rest) <= {"parameters"}:
            if rest.get("parameters"):
                raise invalid_properties("no SMTP parameters are supported (submissionExtensions)", "envelope")
            return {"email": email, "parameters": None}
    raise invalid_properties("an address of an envelope has an email", "envelope")


def _is_address(text: str) -> bool:
    try:
        parse_mailbox(text, smtputf8=True)
    except InvalidAddress:
        return False
    return site_of(text) is not None


async def _may_send_as(context: Context, address: str) -> bool:
    return await context.storage.directory.may_send_as(context.account.id, address)


async def _check_authors(context: Context, head: Head) -> None:
    if not head.authors:
        raise SetError("invalidEmail", "an email needs a From field to be sent", properties=["from"])
    for address in dict.fromkeys((*head.authors[:100], *head.senders[:100])):
        if not await _may_send_as(context, address):
            raise SetError("forbiddenFrom", f"{address[:200]} is not an address of this account")


async def _route(context: Context, recipients: Sequence[str]) -> Route:
    """Tell local from remote recipients. Raises SetError for local addresses that nobody has."""
    directory = context.storage.directory
    sites = {address: site_of(address) or "" for address in recipients}
    own = [
        address
        for address, site in sites.items()
        if await directory.is_local_domain(site) or await directory.is_local_domain(address.rpartition("@")[2])
    ]
    found = await context.storage.recipients.find(own)
    unknown = [address for address in own if not found[address].known]
    if unknown:
        raise SetError("invalidRecipients", "nobody has that address here", invalidRecipients=unknown)
    # What leads further, to others or to the members of a list, is the queue's, and so is what a script is to see.
    scripted = await context.storage.sieve.active(account for each in found.values() for account in each.accounts)
    here = {
        address: each
        for address, each in found.items()
        if not each.remote and not each.lists and scripted.keys().isdisjoint(each.accounts)
    }
    remote = [
        NewRecipient(address, LOCAL_SITE if address in found else site)
        for address, site in sites.items()
        if address not in here
    ]
    return Route(here, remote)


async def _send(context: Context, new: NewSubmission, raw: bytes, route: Route) -> Submission:
    storage = context.storage
    sender = new.envelope["mailFrom"]["email"]
    content = await asyncio.to_thread(
        sent,
        raw,
        hostname=context.hostname,
        at=datetime.now(UTC),
        message_id=f"{uuid.uuid4()}@{context.hostname}",
    )
    messages = await _local_messages(context, sender, content, route)
    addresses = [sender, *(to["email"] for to in new.envelope["rcptTo"])]
    outgoing = NewQueueMessage(
        sender=sender,
        blob=await storage.blobs.prepare(content, queued=True),
        recipients=route.remote,
        account=context.account.id,
        smtputf8=needs_smtputf8(content, addresses),
        eight_bit=not content.isascii(),
        signing_domain=site_of(sender) or None,
    )
    made, sites = await storage.submissions.submit(new, messages, outgoing)
    for shard in {storage.queue.shard_of(site) for site in sites}:
        context.publish(QueueDue(shard))
    return made


async def _local_messages(context: Context, sender: str, content: bytes, route: Route) -> dict[str, list[NewMessage]]:
    """A message for each account behind each local recipient; final delivery adds Return-Path (RFC 5321 4.4)."""
    if not route.local:
        return {}
    delivered = return_path(sender) + content
    summary = await asyncio.to_thread(summarize, delivered)
    behind = [account for found in route.local.values() for account in found.accounts]
    blob = await context.storage.blobs.prepare(delivered, accounts=behind)
    named = context.storage.recipients.named_mailbox
    messages: dict[str, list[NewMessage]] = {}
    for address, found in route.local.items():
        boxes = {account: await named(account, found.detail) for account in found.accounts}
        messages[address] = [
            NewMessage(account, () if box is None else (box,), summary, blob, delivered=True)
            for account, box in boxes.items()
        ]
    return messages
