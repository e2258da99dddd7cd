"""APPEND (RFC 9051 6.3.12): durable before it is answered (design law 2)."""

import asyncio
from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import read_tree
from posthorn_imap.protocol.commands import Append
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_mail_format import summarize
from posthorn_model.errors import MailboxNotFound
from posthorn_model.mail import NewMessage

if TYPE_CHECKING:
    from posthorn_imap.session import Session

IN_THREAD = 65536
"""Octets from which a message is read in a thread."""


async def append(session: "Session", command: Append) -> Answer:
    if not command.message:
        return no("An empty message cannot be stored")
    storage, account = session.parts.storage, session.owner.id
    target = (await read_tree(session)).find(command.mailbox)
    if target is None:
        return no("There is no such mailbox", b"TRYCREATE")
    size = len(command.message)
    summary = await asyncio.to_thread(summarize, command.message) if size > IN_THREAD else summarize(command.message)
    blob = await storage.blobs.prepare(command.message, accounts=[account])
    new = NewMessage(account, [target.id], summary, blob, command.flags, command.received_at)
    try:
        (appended,) = await storage.mail.append([new])
    except MailboxNotFound:
        return no("There is no such mailbox", b"TRYCREATE")
    session.parts.figures.appended.inc(size)
    if session.selection is not None and session.selection.feed.id == target.id:
        await session.selection.feed.refresh()
    _, uidvalidity, uid = appended.uids[0]
    return ok("APPEND completed", b"APPENDUID %d %d" % (uidvalidity, uid))
