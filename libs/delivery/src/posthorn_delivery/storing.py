"""The transaction that stores a filing, and what belongs to it outside of the database, which follows its end."""

from collections.abc import Sequence
from dataclasses import replace

from posthorn_delivery.filing import Filing, forget_reserved
from posthorn_delivery.scripts import Scripts
from posthorn_model.errors import AccountNotFound, MailboxNotFound, PosthornError
from posthorn_model.mail import NewMessage
from posthorn_model.queue_items import NewQueueMessage


async def store(scripts: Scripts, filing: Filing, queued: Sequence[NewQueueMessage] = ()) -> list[NewQueueMessage]:
    """Store all messages of a filing and queue what it sends, and `queued`, or nothing at all (flows.md A.5).

    Returns everything that was queued. Raises OverQuota, AccountNotFound, Unavailable. An account that is not found has
    gone since it was looked up, or since it was remembered: who has its addresses now is asked for the next time, so it
    is worth another try.
    """
    everything = [*queued, *filing.queued]
    try:
        await _deliver(scripts, filing.messages, everything)
    except BaseException as error:
        if isinstance(error, AccountNotFound):
            scripts.storage.recipients.forget()
        await forget_reserved(scripts, filing)
        raise
    await _remember(scripts, filing)
    return everything


async def _deliver(scripts: Scripts, messages: Sequence[NewMessage], queued: Sequence[NewQueueMessage]) -> None:
    """A mailbox that was named and is gone by now gives way to the inbox."""
    try:
        await scripts.storage.mail.deliver(messages, enqueue=queued)
    except MailboxNotFound:
        messages = [replace(message, mailboxes=()) for message in messages]
        await scripts.storage.mail.deliver(messages, enqueue=queued)


async def _remember(scripts: Scripts, filing: Filing) -> None:
    """Remember what scripts want to know the next time, and whose delivery it was: a repeat is no duplicate."""
    for seconds in set(filing.remember.values()):
        keys = [key for key, each in filing.remember.items() if each == seconds]
        try:
            await scripts.storage.lookup.put(dict.fromkeys(keys, filing.delivery.bytes), float(seconds))
        except PosthornError as error:
            scripts.log.warning("duplicates not remembered", reason=error.public)
