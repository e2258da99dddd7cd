"""EXPUNGE and UID EXPUNGE (RFC 9051 6.4.3, RFC 4315 2.1, RFC 9738)."""

from typing import TYPE_CHECKING

from posthorn_imap.message_limit import last_of, told
from posthorn_imap.protocol.commands import Expunge
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def expunge(session: "Session", command: Expunge) -> Answer:
    """What vanished is told with the other changes, in front of the tagged response. UID EXPUNGE alone has a limit."""
    selection = session.selected
    selection.permit(Right.EXPUNGE)
    if selection.read_only:
        return no("The mailbox is selected read-only")
    feed = selection.feed
    uids, left_out = None, b""
    if command.uids is not None:
        chosen = selection.chosen(command.uids, uid=True)
        deleted, left_out = last_of(session, [pair for pair in chosen if selection.deleted(pair[1])])
        uids = [uid for _, uid in chosen if not left_out or uid >= deleted[-1][1]]
    gone = await session.parts.storage.mail.expunge(*feed.place, uids, only_deleted=True)
    feed.expunged(gone)
    code = b""
    if session.qresync:
        await feed.refresh()  # for the mod-sequence of what vanished (RFC 7162 3.2.7)
        code = b"HIGHESTMODSEQ %d" % feed.highest
    return told(session, ok("EXPUNGE completed", code), left_out)
