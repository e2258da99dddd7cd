"""STATUS (RFC 9051 6.3.11): from the counters the store keeps."""

from dataclasses import replace
from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import find_mailbox
from posthorn_imap.places import Named, Place, permitted
from posthorn_imap.protocol.commands import Status, StatusItem
from posthorn_imap.protocol.responses import Answer, listed, ok, untagged
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def status(session: "Session", command: Status) -> Answer:
    found = permitted(await find_mailbox(session, command.mailbox), Right.READ)
    session.write(await status_response(session, replace(found, name=command.mailbox), command.items))
    return ok("STATUS completed")


async def status_response(session: "Session", named: Named, items: tuple[StatusItem, ...]) -> bytes:
    """The STATUS response of a mailbox, under its name."""
    if StatusItem.HIGHESTMODSEQ in items:
        session.enable_condstore()
    words = [item.value + b" " + await _value(session, named, item) for item in items]
    return untagged(b"STATUS", session.name(named.name), listed(words))


async def _value(session: "Session", named: Named, item: StatusItem) -> bytes:
    box = named.box
    match item:
        case StatusItem.MAILBOXID:
            return b"(M%d)" % box.id
        case StatusItem.APPENDLIMIT:
            return b"%d" % session.parts.settings.append_limit
        case StatusItem.RECENT:
            return b"%d" % _recent(session, named.place)
        case StatusItem.DELETED_STORAGE:
            return b"%d" % await _deleted_size(session, named)
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


async def _deleted_size(session: "Session", named: Named) -> int:
    """Octets that EXPUNGE would free (RFC 9208 4.1.4); counted when asked for, as it seldom is."""
    return await session.parts.storage.mail.deleted_size(*named.place) if named.box.deleted else 0


def _recent(session: "Session", place: Place) -> int:
    """\\Recent is a session's own (RFC 3501 2.3.2): known for the mailbox this one has selected, else none."""
    selection = session.selection
    return selection.recents if selection is not None and selection.feed.place == place else 0
