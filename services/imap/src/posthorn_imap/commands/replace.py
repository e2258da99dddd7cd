"""REPLACE and UID REPLACE (RFC 8508): a message in place of another, in one transaction."""

from typing import TYPE_CHECKING

from posthorn_imap.letters import assembled, new_messages
from posthorn_imap.mailbox_tree import read_tree
from posthorn_imap.protocol.commands import Replace
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_model.errors import MailboxNotFound
from posthorn_model.ids import Uid

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def replace(session: "Session", command: Replace) -> Answer:
    """Where the new message is, is told before the expunge of the old one, so that clients can follow it."""
    selection = session.selected
    chosen = selection.chosen(command.number, uid=command.uid)
    if selection.read_only:
        return no("The mailbox is selected read-only")
    if not chosen:
        return no("There is no such message", b"EXPUNGEISSUED")
    target = (await read_tree(session)).find(command.mailbox)
    if target is None:
        return no("There is no such mailbox", b"TRYCREATE")
    letters = await assembled(session, [command.letter])
    if not letters[0].octets:
        return no("An empty message cannot be stored")
    feed, uid = selection.feed, Uid(chosen[0][1])
    (new,) = await new_messages(session, target.id, letters)
    try:
        appended = await session.parts.storage.mail.replace(new, feed.id, uid)
    except MailboxNotFound:
        return no("There is no such mailbox", b"TRYCREATE")
    session.parts.figures.appended.inc(len(letters[0].octets))
    _, uidvalidity, made = appended.uids[0]
    session.write(ok("Replaced", b"APPENDUID %d %d" % (uidvalidity, made)).line())
    feed.expunged([uid])
    if target.id == feed.id:
        await feed.refresh()
    return ok("REPLACE completed")
