"""Delivery to mailboxes of the cluster: mail whose site is "local", or a domain that is the cluster's own.

Exactly once (design law 7): the delivery id is derived from the queue message, so that a repeat is a no-op.
"""

from collections.abc import Mapping
from dataclasses import replace

from posthorn_mail_format import summarize
from posthorn_model.errors import MailboxNotFound, OverQuota, PosthornError
from posthorn_model.ids import AccountId
from posthorn_model.mail import NewMessage
from posthorn_smtp_out.groups import Group
from posthorn_smtp_out.identities import delivery_id
from posthorn_smtp_out.mailing import forward, post
from posthorn_smtp_out.outcomes import Answer
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.protocol.content import without_return_path
from posthorn_smtp_out.protocol.replies import Reply

UNKNOWN = Reply(550, ("5.1.1 No such user here",))
PASSED_ON = Reply(250, ("2.1.5 Passed on",))
DELIVERED = Reply(250, ("2.1.5 Delivered to the mailbox",))
FULL = Reply(452, ("4.2.2 The mailbox is full",))


async def deliver_locally(parts: Parts, group: Group) -> Mapping[int, Answer]:
    """Deliver to every recipient's accounts, and pass on; an answer for each recipient's id. Raises Unavailable."""
    storage = parts.storage
    found = await storage.recipients.find([recipient.address for recipient in group.recipients])
    original = without_return_path(await storage.blobs.read(None, group.first.blob))
    content = f"Return-Path: <{group.first.sender}>\r\n".encode() + original
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
        refusal = await forward(parts, group, there, original) if not there.posting else None
        if there.posting:
            replies = [await post(parts, group, there.key, original)]
        elif refusal is not None:
            replies = [refusal]
        else:
            replies = [await deliver(account, there.detail) for account in there.accounts]
            replies += [PASSED_ON] if there.remote or there.lists else []
        # One address may lead to several accounts: one to be tried again decides, and the retry skips the others.
        worst = max(replies, key=lambda reply: reply.code if reply.code < 500 else 0, default=UNKNOWN)
        answers[recipient.id] = Answer(worst, local=True)
    return answers
