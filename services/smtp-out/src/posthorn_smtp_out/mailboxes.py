"""Delivery to mailboxes of the cluster: mail whose site is "local", or a domain that is the cluster's own.

Exactly once (design law 7): the delivery id is derived from the queue message, so that a repeat is a no-op.
"""

import uuid
from collections.abc import Mapping
from dataclasses import replace

from posthorn_mail_format import summarize
from posthorn_model.errors import MailboxNotFound, OverQuota, PosthornError
from posthorn_model.ids import AccountId, QueueMessageId
from posthorn_model.mail import NewMessage
from posthorn_smtp_out.groups import Group
from posthorn_smtp_out.outcomes import Answer
from posthorn_smtp_out.protocol.content import without_return_path
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_storage import Storage

NAMESPACE = uuid.UUID("6f1b8a52-6a39-4e0a-9d0c-5b6b1f5f7a11")
UNKNOWN = Reply(550, ("5.1.1 No such user here",))
DELIVERED = Reply(250, ("2.1.5 Delivered to the mailbox",))
FULL = Reply(452, ("4.2.2 The mailbox is full",))


def delivery_id(message: QueueMessageId, purpose: str = "local") -> uuid.UUID:
    """The delivery id of everything that one queue message is delivered as."""
    return uuid.uuid5(NAMESPACE, f"queue/{message}/{purpose}")


async def deliver_locally(storage: Storage, group: Group) -> Mapping[int, Answer]:
    """Deliver to every recipient's accounts; an answer for each recipient's id. Raises Unavailable."""
    found = await storage.recipients.find([recipient.address for recipient in group.recipients])
    content = f"Return-Path: <{group.first.sender}>\r\n".encode() + without_return_path(
        await storage.blobs.read(None, group.first.blob)
    )
    answers: dict[int, Answer] = {}
    summary = summarize(content)
    behind = [account for each in found.values() for account in each.accounts]
    blob = await storage.blobs.prepare(content, accounts=behind)

    async def deliver(account: AccountId, detail: str) -> Reply:
        mailbox = await storage.recipients.named_mailbox(account, detail)
        mailboxes = () if mailbox is None else (mailbox,)
        message = NewMessage(account, mailboxes, summary, blob, delivery_id=delivery_id(group.message), delivered=True)
        try:
            try:
                await storage.mail.deliver([message])
            except MailboxNotFound:  # removed since it was found
                await storage.mail.deliver([replace(message, mailboxes=())])
        except OverQuota:
            return FULL
        except PosthornError as error:
            if error.temporary:
                raise
            return Reply(554, (f"5.2.0 {error.public}",))
        return DELIVERED

    for recipient in group.recipients:
        there = found[recipient.address]
        replies = [await deliver(account, there.detail) for account in there.accounts]
        # One address may lead to several accounts: one to be tried again decides, and the retry skips the others.
        worst = max(replies, key=lambda reply: reply.code if reply.code < 500 else 0, default=UNKNOWN)
        answers[recipient.id] = Answer(worst, local=True)
    return answers
