"""SUBSCRIBE and UNSUBSCRIBE (RFC 9051 6.3.7 and 6.3.8)."""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import read_tree
from posthorn_imap.protocol.commands import Subscribe
from posthorn_imap.protocol.responses import Answer, ok
from posthorn_model.errors import MailboxNotFound

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def subscribe(session: "Session", command: Subscribe) -> Answer:
    mailbox = (await read_tree(session)).find(command.mailbox)
    if mailbox is None:
        raise MailboxNotFound
    await session.parts.storage.mail.update_mailbox(session.owner.id, mailbox.id, subscribed=command.subscribed)
    return ok("SUBSCRIBE completed" if command.subscribed else "UNSUBSCRIBE completed")
