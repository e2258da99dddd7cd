"""STATUS (RFC 9051 6.3.11): from the counters the store keeps."""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import read_tree
from posthorn_imap.protocol.commands import Status, StatusItem
from posthorn_imap.protocol.responses import Answer, listed, ok, untagged
from posthorn_model.errors import MailboxNotFound
from posthorn_model.mail import Mailbox

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def status(session: "Session", command: Status) -> Answer:
    found = (await read_tree(session)).find(command.mailbox)
    if found is None:
        raise MailboxNotFound
    session.write(await status_response(session, command.mailbox, found, command.items))
    return ok("STATUS completed")


async def status_response(session: "Session", name: str, box: Mailbox, items: tuple[StatusItem, ...]) -> bytes:
    """The STATUS response of a mailbox."""
    if StatusItem.HIGHESTMODSEQ in items:
        session.enable_condstore()
    words = [item.value + b" " + await _value(session, box, item) for item in items]
    return untagged(b"STATUS", session.name(name), listed(words))


async def _value(session: "Session", box: Mailbox, item: StatusItem) -> bytes:
    match item:
        case StatusItem.MAILBOXID:
            return b"(M%d)" % box.id
        case StatusItem.APPENDLIMIT:
            return b"%d" % session.parts.settings.append_limit
        case StatusItem.RECENT:
            return b"%d" % _recent(session, box)
        case StatusItem.DELETED_STORAGE:
            return b"%d" % await _deleted_size(session, box)
        case StatusItem.MESSAGES:
            return b"%d" % box.total
    numbers = {
        StatusItem.UIDNEXT: box.uidnext,
        StatusItem.UIDVALIDITY: box.uidvalidity,
        StatusItem.UNSEEN: box.unseen,
        StatusItem.DELETED: box.deleted,
        StatusItem.SIZE: box.size,
        StatusItem.HIGHESTMODSEQ: box.modseq,
    }
    return b"%d" % numbers[item]


async def _deleted_size(session: "Session", box: Mailbox) -> int:
    """Octets that EXPUNGE would free (RFC 9208 4.1.4); counted when asked for, as it seldom is."""
    return await session.parts.storage.mail.deleted_size(session.owner.id, box.id) if box.deleted else 0


def _recent(session: "Session", box: Mailbox) -> int:
    """\\Recent is a session's own (RFC 3501 2.3.2): known for the mailbox this one has selected, else none."""
    selection = session.selection
    return selection.recents if selection is not None and selection.feed.id == box.id else 0
