"""COPY and MOVE, with and without UID (RFC 9051 6.4.7, RFC 6851, RFC 4315, RFC 9738)."""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import find_mailbox
from posthorn_imap.message_limit import check_saving, last_of, told
from posthorn_imap.places import Named, permitted
from posthorn_imap.protocol.commands import Copy
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_imap.protocol.sets import write_set
from posthorn_imap.selection import Selection
from posthorn_imap.transfers import copy_across
from posthorn_model.errors import MailboxNotFound
from posthorn_model.rights import Right
from posthorn_storage.mail.copying import Copied

if TYPE_CHECKING:
    from posthorn_imap.session import Session


_ANY_FLAG = Right.SEEN | Right.WRITE | Right.DELETE_MESSAGES


async def copy(session: "Session", command: Copy) -> Answer:
    """All of the messages or none; of too many MOVE takes the last ones.

    UIDs are told before MOVE's expunges, so that clients can follow each message.
    """
    try:
        return await _copy(session, command)
    except MailboxNotFound:
        return no("There is no such mailbox", b"TRYCREATE")


async def _copy(session: "Session", command: Copy) -> Answer:
    selection = session.selected
    chosen = selection.chosen(command.numbers, uid=command.uid)
    left_out = b""
    if command.move:
        selection.permit(Right.DELETE_MESSAGES | Right.EXPUNGE)
        if selection.read_only:
            return no("The mailbox is selected read-only")
        chosen, left_out = last_of(session, chosen)
    uids = sorted(uid for _, uid in chosen)
    if not command.move:
        check_saving(session, uids)
    feed = selection.feed
    target = permitted(await find_mailbox(session, command.mailbox), Right.INSERT)
    verb = "MOVE" if command.move else "COPY"
    if not uids:
        return ok(f"{verb} completed, nothing to do")
    done = await _done(session, selection, uids, target, move=command.move)
    sources, made = [old for old, _ in done.pairs], [new for _, new in done.pairs]
    code = b"COPYUID %d %s %s" % (done.uidvalidity, write_set(sources), write_set(made)) if done.pairs else b""
    if command.move:
        if code:
            session.write(ok("Moved", code).line())
            code = b""
        feed.expunged(sources)
    if target.place == feed.place:
        await feed.catch_up()
    return told(session, ok(f"{verb} completed", code), left_out)


async def _done(session: "Session", selection: Selection, uids: list[int], target: Named, *, move: bool) -> Copied:
    """Within an account in one transaction, with all flags if the session may set all."""
    mail, source = session.parts.storage.mail, selection.feed.place
    if target.place.account == source.account and _ANY_FLAG in target.held:
        act = mail.move if move else mail.copy
        return await act(*source, uids, target.place.mailbox)
    done = await copy_across(session, selection, uids, target)
    if move:
        await mail.expunge(*source, [old for old, _ in done.pairs], only_deleted=False)
    return done
