"""NOTIFY (RFC 5465): the session is told of events in many mailboxes without asking for them."""

from typing import TYPE_CHECKING

from posthorn_imap.notifications import Notifications, known_of, tell_all
from posthorn_imap.protocol.notify import Notify
from posthorn_imap.protocol.responses import Answer, ok
from posthorn_imap.watching import Watching

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def notify(session: "Session", command: Notify) -> Answer:
    """Each takes the place of the one before. After a command the selected mailbox is told of in any case."""
    if not command.groups:
        session.stop_notifications()
        return ok("NOTIFY completed")
    before = session.notifications
    watching = Watching(session.parts.changes, session.wake) if before is None else before.watching
    try:
        tree = await watching.read(session)
    except BaseException:
        if before is None:
            watching.stop()
        raise
    session.notifications = Notifications(
        watching,
        next((group for group in command.groups if group.of_selected), None),
        tuple(group for group in command.groups if not group.of_selected),
        known_of(tree),
        due=True,
    )
    if command.status:
        await tell_all(session, session.notifications, tree)
    return ok("NOTIFY completed")
