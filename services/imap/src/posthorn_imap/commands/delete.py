"""DELETE (RFC 9051 6.3.5)."""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import read_tree
from posthorn_imap.protocol.commands import Delete
from posthorn_imap.protocol.responses import Answer, ok
from posthorn_model.errors import MailboxNotFound

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def delete(session: "Session", command: Delete) -> Answer:
    """A mailbox that is selected here is left first; other sessions that have it selected are told BYE."""
    mailbox = (await read_tree(session)).find(command.mailbox)
    if mailbox is None:
        raise MailboxNotFound
    await session.parts.storage.mail.delete_mailbox(session.owner.id, mailbox.id, remove_messages=True)
    if session.selection is not None and session.selection.feed.id == mailbox.id:
        session.selection.deleted = False
        await session.deselect()
        session.write(ok("The selected mailbox is deleted", b"CLOSED").line())
    return ok("DELETE completed")
