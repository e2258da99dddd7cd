"""SUBSCRIBE and UNSUBSCRIBE (RFC 9051 6.3.7 and 6.3.8)."""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import find_mailbox
from posthorn_imap.places import permitted
from posthorn_imap.protocol.commands import Subscribe
from posthorn_imap.protocol.responses import Answer, ok
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def subscribe(session: "Session", command: Subscribe) -> Answer:
    """To mailboxes of others everybody for himself. One that is no longer shared needs no unsubscribing."""
    mail = session.parts.storage.mail
    found = permitted(await find_mailbox(session, command.mailbox), Right.LOOKUP)
    if found.shared:
        await mail.subscribe(session.user.id, *found.place, subscribed=command.subscribed)
    else:
        await mail.update_mailbox(*found.place, subscribed=command.subscribed)
    return ok("SUBSCRIBE completed" if command.subscribed else "UNSUBSCRIBE completed")
