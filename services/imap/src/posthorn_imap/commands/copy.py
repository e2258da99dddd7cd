"""COPY and MOVE, with and without UID (RFC 9051 6.4.7, RFC 6851, RFC 4315)."""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import read_tree
from posthorn_imap.protocol.commands import Copy
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_imap.protocol.sets import write_set
from posthorn_model.errors import MailboxNotFound

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def copy(session: "Session", command: Copy) -> Answer:
    """All of the messages or none. UIDs are told before MOVE's expunges, so that clients can follow each message."""
    selection = session.selected
    chosen = selection.chosen(command.numbers, uid=command.uid)
    if command.move and selection.read_only:
        return no("The mailbox is selected read-only")
    mail, feed = session.parts.storage.mail, selection.feed
    target = (await read_tree(session)).find(command.mailbox)
    if target is None:
        return no("There is no such mailbox", b"TRYCREATE")
    verb = "MOVE" if command.move else "COPY"
    uids = [uid for _, uid in chosen]
    if not uids:
        return ok(f"{verb} completed, nothing to do")
    try:
        act = mail.move if command.move else mail.copy
        done = await act(feed.account, feed.id, uids, target.id)
    except MailboxNotFound:
        return no("There is no such mailbox", b"TRYCREATE")
    sources, made = [old for old, _ in done.pairs], [new for _, new in done.pairs]
    code = b"COPYUID %d %s %s" % (done.uidvalidity, write_set(sources), write_set(made)) if done.pairs else b""
    if command.move:
        if code:
            session.write(ok("Moved", code).line())
            code = b""
        feed.expunged(sources)
    if target.id == feed.id:
        await feed.refresh()
    return ok(f"{verb} completed", code)
