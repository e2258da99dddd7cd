"""REPLACE and UID REPLACE (RFC 8508): a message in place of another, in one transaction within an account."""

from typing import TYPE_CHECKING

from posthorn_imap.letters import assembled, new_messages
from posthorn_imap.mailbox_tree import find_mailbox
from posthorn_imap.places import permitted
from posthorn_imap.protocol.commands import Replace
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_model.errors import MailboxNotFound
from posthorn_model.ids import Uid
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def replace(session: "Session", command: Replace) -> Answer:
    """Where the new message is, is told before the expunge of the old one, so that clients can follow it."""
    try:
        return await _replace(session, command)
    except MailboxNotFound:
        return no("There is no such mailbox", b"TRYCREATE")


async def _replace(session: "Session", command: Replace) -> Answer:
    selection = session.selected
    selection.permit(Right.DELETE_MESSAGES | Right.EXPUNGE)
    chosen = selection.chosen(command.number, uid=command.uid)
    if selection.read_only:
        return no("The mailbox is selected read-only")
    if not chosen:
        return no("There is no such message", b"EXPUNGEISSUED")
    target = permitted(await find_mailbox(session, command.mailbox), Right.INSERT)
    letters = await assembled(session, [command.letter])
    if not letters[0].octets:
        return no("An empty message cannot be stored")
    feed, uid = selection.feed, Uid(chosen[0][1])
    (new,) = await new_messages(session, target, letters)
    mail = session.parts.storage.mail
    if target.place.account == feed.place.account:
        appended = await mail.replace(new, feed.place.mailbox, uid)
    else:  # two accounts share no transaction: for a moment there are both
        (appended,) = await mail.append([new])
        await mail.expunge(*feed.place, [uid], only_deleted=False)
    session.parts.figures.appended.inc(len(letters[0].octets))
    _, uidvalidity, made = appended.uids[0]
    session.write(ok("Replaced", b"APPENDUID %d %d" % (uidvalidity, made)).line())
    feed.expunged([uid])
    if target.place == feed.place:
        await feed.catch_up()
    return ok("REPLACE completed")
