"""APPEND (RFC 9051 6.3.12; 3502, 4469, 9738): durable before it is answered (design law 2), all messages or none."""

from typing import TYPE_CHECKING

from posthorn_imap.letters import assembled, new_messages
from posthorn_imap.mailbox_tree import find_mailbox
from posthorn_imap.message_limit import check_saving
from posthorn_imap.places import permitted
from posthorn_imap.protocol.commands import Append
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_imap.protocol.sets import write_set
from posthorn_model.errors import MailboxNotFound
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def append(session: "Session", command: Append) -> Answer:
    try:
        return await _append(session, command)
    except MailboxNotFound:
        return no("There is no such mailbox", b"TRYCREATE")


async def _append(session: "Session", command: Append) -> Answer:
    target = permitted(await find_mailbox(session, command.mailbox), Right.INSERT)
    check_saving(session, [None] * len(command.letters))
    letters = await assembled(session, command.letters)
    if not all(letter.octets for letter in letters):
        return no("An empty message cannot be stored")
    appended = await session.parts.storage.mail.append(await new_messages(session, target, letters))
    session.parts.figures.appended.inc(sum(len(letter.octets) for letter in letters))
    if session.selection is not None and session.selection.feed.place == target.place:
        await session.selection.feed.catch_up()
    places = [one.uids[0] for one in appended]
    uids = write_set([uid for _, _, uid in places])
    return ok("APPEND completed", b"APPENDUID %d %s" % (places[0][1], uids))
