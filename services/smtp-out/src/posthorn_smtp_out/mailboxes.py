"""Delivery to mailboxes of the cluster: mail whose site is "local", or a domain that is the cluster's own."""

from collections.abc import Mapping

from posthorn_model.ids import AccountId
from posthorn_smtp_out.copies import Copy, Target, deliver, prepare
from posthorn_smtp_out.groups import Group
from posthorn_smtp_out.identities import delivery_id
from posthorn_smtp_out.mailing import forward, post
from posthorn_smtp_out.outcomes import Answer
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.protocol.content import without_return_path
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_storage import Found

UNKNOWN = Reply(550, ("5.1.1 No such user here",))
PASSED_ON = Reply(250, ("2.1.5 Passed on",))


async def deliver_locally(parts: Parts, group: Group) -> Mapping[int, Answer]:
    """Deliver to every recipient's accounts, and pass on; an answer for each recipient's id. Raises Unavailable."""
    storage, first = parts.storage, group.first
    found = await storage.recipients.find([recipient.address for recipient in group.recipients])
    content = without_return_path(await storage.blobs.read(None, first.blob))
    behind = list({account: None for each in found.values() for account in each.accounts})
    copy = await prepare(parts, delivery_id(group.message), first.sender, content, behind, smtputf8=first.smtputf8)
    delivered: dict[AccountId, Reply] = {}
    answers: dict[int, Answer] = {}
    for recipient in group.recipients:
        there = found[recipient.address]
        refusal = await forward(parts, group, there, content) if not there.posting else None
        if there.posting:
            replies = [await post(parts, group, there.key, content)]
        elif refusal is not None:
            replies = [refusal]
        else:
            # Two addresses of one account are one delivery.
            for account in there.accounts:
                if account not in delivered:
                    delivered[account] = await _to_account(parts, copy, account, recipient.address, found)
            replies = [delivered[account] for account in there.accounts]
            replies += [PASSED_ON] if there.remote or there.lists else []
        # One address may lead to several accounts: one to be tried again decides, and the retry skips the others.
        worst = max(replies, key=lambda reply: reply.code if reply.code < 500 else 0, default=UNKNOWN)
        answers[recipient.id] = Answer(worst, local=True)
    return answers


def _one_person(found: Found) -> bool:
    """Whether nobody else has mail of that address."""
    return len(found.accounts) == 1 and not found.remote and not found.lists


async def _to_account(parts: Parts, copy: Copy, account: AccountId, address: str, found: Mapping[str, Found]) -> Reply:
    mailbox = await parts.storage.recipients.named_mailbox(account, found[address].detail)
    alone = all(_one_person(each) for each in found.values() if account in each.accounts)
    return await deliver(parts, copy, Target(account, address, mailbox, alone))
