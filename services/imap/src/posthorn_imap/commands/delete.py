"""DELETE (RFC 9051 6.3.5)."""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import find_mailbox
from posthorn_imap.places import permitted
from posthorn_imap.protocol.commands import Delete
from posthorn_imap.protocol.responses import Answer, ok
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def delete(session: "Session", command: Delete) -> Answer:
    """A mailbox that is selected here is left first; other sessions that have it selected are told BYE."""
    found = permitted(await find_mailbox(session, command.mailbox), Right.DELETE_MAILBOX)
    await session.parts.storage.mail.delete_mailbox(*found.place, remove_messages=True)
    if session.selection is not None and session.selection.feed.place == found.place:
        session.selection.lost = None
        await session.deselect()
        session.write(ok("The selected mailbox is deleted", b"CLOSED").line())
    return ok("DELETE completed")
