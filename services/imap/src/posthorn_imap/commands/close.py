"""CLOSE and UNSELECT (RFC 9051 6.4.1 and 6.4.2)."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Close
from posthorn_imap.protocol.responses import Answer, ok
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def close(session: "Session", command: Close) -> Answer:
    """CLOSE expunges without telling, where that is allowed; both leave the mailbox."""
    selection = session.selected
    if command.expunge and Right.EXPUNGE in selection.held and not selection.examined:
        feed = selection.feed
        uids = await session.parts.storage.mail.expunge(*feed.place, only_deleted=True)
        session.parts.changes.leave(feed, selection)
        feed.expunged(uids)
    await session.deselect()
    return ok("CLOSE completed" if command.expunge else "UNSELECT completed")
