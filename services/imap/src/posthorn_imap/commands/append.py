"""APPEND (RFC 9051 6.3.12; 3502, 4469): durable before it is answered (design law 2), all of its messages or none."""

from typing import TYPE_CHECKING

from posthorn_imap.letters import assembled, new_messages
from posthorn_imap.mailbox_tree import read_tree
from posthorn_imap.protocol.commands import Append
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_imap.protocol.sets import write_set
from posthorn_model.errors import MailboxNotFound

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def append(session: "Session", command: Append) -> Answer:
    target = (await read_tree(session)).find(command.mailbox)
    if target is None:
        return no("There is no such mailbox", b"TRYCREATE")
    letters = await assembled(session, command.letters)
    if not all(letter.octets for letter in letters):
        return no("An empty message cannot be stored")
    new = await new_messages(session, target.id, letters)
    try:
        appended = await session.parts.storage.mail.append(new)
    except MailboxNotFound:
        return no("There is no such mailbox", b"TRYCREATE")
    session.parts.figures.appended.inc(sum(len(letter.octets) for letter in letters))
    if session.selection is not None and session.selection.feed.id == target.id:
        await session.selection.feed.refresh()
    places = [one.uids[0] for one in appended]
    uids = write_set([uid for _, _, uid in places])
    return ok("APPEND completed", b"APPENDUID %d %s" % (places[0][1], uids))
