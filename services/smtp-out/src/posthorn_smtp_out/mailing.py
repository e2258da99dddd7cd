"""What an address of the cluster passes on: a forward to others in its own name, a list to its members.

Each copy has a delivery id made of the queue message's and the address's, so that whoever repeats the attempt after a
crash sends nothing twice. Bounces of a list go to its owner, those of a forward back to the sender (sender rewriting).
"""

import asyncio
from collections.abc import Sequence

from posthorn_mail_format.list_fields import ListNames, bounce_address, listed, passed_on, was_delivered_to
from posthorn_model.ids import AccountId
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Terms, site_of
from posthorn_smtp_out.copies import FULL, Target, deliver, prepare
from posthorn_smtp_out.groups import Group
from posthorn_smtp_out.identities import delivery_id
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_storage import Found
from posthorn_storage.codes import LOCAL_SITE
from posthorn_storage.directory.distributions import Distribution

LOOP = Reply(554, ("5.4.6 The message has been passed on by this address before: a mail loop",))
NOT_ALLOWED = Reply(550, ("5.7.1 The sender may not write to this list",))
LISTED = Reply(250, ("2.1.5 Passed on to the members of the list",))
AT_ONCE = 50
"""Mailboxes of a list's members that are delivered to at once."""


async def forward(parts: Parts, group: Group, found: Found, content: bytes) -> Reply | None:
    """Queue what an address passes on to addresses elsewhere and to lists; the refusal, or None."""
    if not found.remote and not found.lists:
        return None
    if was_delivered_to(content, found.key):
        return LOOP
    first, storage = group.first, parts.storage
    domain = found.key.rpartition("@")[2]
    copy = await parts.scripts.sealer.sealed(passed_on(content, found.key), found.key, content)
    sender = storage.senders.rewritten(first.sender, domain, parts.clock.time())
    recipients = [*map(_elsewhere, found.remote), *(NewRecipient(each, LOCAL_SITE) for each in found.lists)]
    await storage.queue.enqueue(
        NewQueueMessage(
            sender=sender,
            blob=await storage.blobs.prepare(copy, queued=True),
            recipients=[each for each in recipients if each.site],
            smtputf8=first.smtputf8,
            eight_bit=first.eight_bit,
            delivery_id=delivery_id(group.message, f"forward/{found.key}"),
            terms=Terms(priority=first.terms.priority, require_tls=first.terms.require_tls),
        )
    )
    return None


async def post(parts: Parts, group: Group, address: str, content: bytes) -> Reply:
    """Pass a message on to all members of the list with that address. Raises Unavailable."""
    if was_delivered_to(content, address):
        return LOOP
    storage, first = parts.storage, group.first
    mailing = await storage.distributions.one(address)
    if not await may_post(parts, mailing, first.sender):
        return NOT_ALLOWED
    members = await storage.recipients.members(mailing)
    copy = listed(content, ListNames(address, mailing.name, mailing.posting != "nobody"))
    sender = bounce_address(address)
    identity = delivery_id(group.message, f"list/{address}")
    full = await _store(parts, members.accounts, sender, copy, group)
    elsewhere = [each for each in map(_elsewhere, members.remote) if each.site]
    again = [*(NewRecipient(each, LOCAL_SITE) for each in members.lists), *full]
    if elsewhere or again:
        await storage.queue.enqueue(
            NewQueueMessage(
                sender=sender,
                blob=await storage.blobs.prepare(
                    await parts.scripts.sealer.sealed(copy, address, content), queued=True
                ),
                recipients=[*elsewhere, *again],
                smtputf8=first.smtputf8,
                eight_bit=first.eight_bit,
                delivery_id=identity,
                terms=Terms(priority=first.terms.priority, require_tls=first.terms.require_tls),
                signing_domain=address.rpartition("@")[2],
            )
        )
    return LISTED


async def may_post(parts: Parts, mailing: Distribution, sender: str) -> bool:
    """Whether mail of this sender goes to all of a list. Reports never do, and its owner's always does."""
    if not sender or mailing.posting == "anyone":
        return bool(sender)
    writers = parts.storage.recipients.writers(sender)
    if mailing.posting == "nobody":
        return mailing.owner in writers
    return await parts.storage.distributions.is_member(mailing.address, writers)


async def _store(
    parts: Parts, accounts: Sequence[AccountId], sender: str, copy: bytes, group: Group
) -> list[NewRecipient]:
    """Deliver to the members' mailboxes; those without room are returned, to be tried again."""
    if not accounts:
        return []
    # Whoever is a member of several lists of one message gets a copy of each.
    identity, storage = delivery_id(group.message, f"list/{sender}"), parts.storage
    full: list[AccountId] = []

    made = await prepare(parts, identity, sender, copy, accounts, smtputf8=group.first.smtputf8)

    async def one(account: AccountId) -> None:
        # Only a script asks by which address the message came.
        address = (await storage.directory.account(account)).address if account in made.active else ""
        if (await deliver(parts, made, Target(account, address))).code == FULL.code:
            full.append(account)

    for start in range(0, len(accounts), AT_ONCE):
        await asyncio.gather(*(one(account) for account in accounts[start : start + AT_ONCE]))
    return [NewRecipient((await storage.directory.account(each)).address, LOCAL_SITE) for each in full]


def _elsewhere(address: str) -> NewRecipient:
    return NewRecipient(address, site_of(address) or "")
