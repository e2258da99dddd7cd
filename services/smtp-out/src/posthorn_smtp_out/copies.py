"""Copies of a queue message for mailboxes: each goes through the script of its account, and is stored exactly once.

The delivery id is made of the queue message (design law 7), and all that a script sends has an id made of that one: who
repeats an attempt after a kill stores and sends nothing twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from posthorn_delivery import Arrival, file_by_scripts, store
from posthorn_mail_format import summarize
from posthorn_mail_format.trace import return_path
from posthorn_model.errors import AccountNotFound, OverQuota, PosthornError
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.mail import MessageSummary, NewMessage, PreparedBlob
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_storage.sieve_scripts import ActiveScript

DELIVERED = Reply(250, ("2.1.5 Delivered to the mailbox",))
FULL = Reply(452, ("4.2.2 The mailbox is full",))
GONE = Reply(451, ("4.2.1 The mailbox went away meanwhile",))
IN_THREAD = 262_144
"""Octets of content whose scan would hold up other attempts for too long."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One content for the mailboxes of some accounts."""

    identity: UUID
    sender: str
    content: bytes
    summary: MessageSummary
    blob: PreparedBlob
    smtputf8: bool
    active: Mapping[AccountId, ActiveScript]
    """The scripts of those accounts that have one."""


@dataclass(frozen=True, slots=True)
class Target:
    """One account that a copy is for."""

    account: AccountId
    recipient: str
    """The address that led to it."""
    mailbox: MailboxId | None = None
    """None: the inbox."""
    alone: bool = False
    """Nobody else has that address: a refusal of the script is the answer for it."""


async def prepare(
    parts: Parts, identity: UUID, sender: str, content: bytes, accounts: Sequence[AccountId], *, smtputf8: bool
) -> Copy:
    """Make the copy that `accounts` get of `content`, which has no Return-Path. Raises Unavailable."""
    content = return_path(sender) + content
    summary = await asyncio.to_thread(summarize, content) if len(content) > IN_THREAD else summarize(content)
    blob = await parts.storage.blobs.prepare(content, accounts=accounts)
    return Copy(identity, sender, content, summary, blob, smtputf8, await parts.storage.sieve.active(accounts))


async def deliver(parts: Parts, copy: Copy, to: Target) -> Reply:
    """Deliver to one account; the reply that tells of it. Raises Unavailable."""
    message = NewMessage(
        to.account,
        () if to.mailbox is None else (to.mailbox,),
        copy.summary,
        copy.blob,
        delivery_id=copy.identity,
        delivered=True,
    )
    arrival = Arrival(
        delivery=copy.identity,
        sender=copy.sender,
        content=copy.content,
        recipients={to.account: to.recipient},
        alone=to.alone,
        smtputf8=copy.smtputf8,
    )
    try:
        filing = await file_by_scripts(parts.scripts, arrival, [message], copy.active)
        if filing.refusal is not None:
            return Reply(550, (f"5.7.1 {filing.refusal}",))
        await store(parts.scripts, filing)
    except OverQuota:
        return FULL
    except AccountNotFound:
        return GONE
    except PosthornError as error:
        if error.temporary:
            raise
        return Reply(554, (f"5.2.0 {error.public}",))
    return DELIVERED
