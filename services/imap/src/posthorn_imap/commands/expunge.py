"""EXPUNGE and UID EXPUNGE (RFC 9051 6.4.3, RFC 4315 2.1)."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Expunge
from posthorn_imap.protocol.responses import Answer, no, ok

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def expunge(session: "Session", command: Expunge) -> Answer:
    """What vanished is told with the other changes, in front of the tagged response."""
    selection = session.selected
    if selection.read_only:
        return no("The mailbox is selected read-only")
    feed = selection.feed
    uids = None
    if command.uids is not None:
        uids = [uid for _, uid in selection.chosen(command.uids, uid=True)]
    gone = await session.parts.storage.mail.expunge(feed.account, feed.id, uids, only_deleted=True)
    feed.expunged(gone)
    if not session.qresync:
        return ok("EXPUNGE completed")
    await feed.refresh()  # for the mod-sequence of what vanished (RFC 7162 3.2.7)
    return ok("EXPUNGE completed", b"HIGHESTMODSEQ %d" % feed.highest)
