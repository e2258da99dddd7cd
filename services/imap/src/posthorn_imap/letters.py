"""Makes messages of what clients append: read once, their content stored before any row speaks of it (design law 3)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from posthorn_imap.body_sections import needed_fields, read_sections
from posthorn_imap.mailbox_tree import read_tree
from posthorn_imap.protocol.commands import Letter
from posthorn_imap.protocol.message_urls import BadUrl, MessageUrl
from posthorn_mail_format import summarize
from posthorn_model.errors import BlobNotFound, TooLarge
from posthorn_model.ids import MailboxId
from posthorn_model.mail import NewMessage

if TYPE_CHECKING:
    from posthorn_imap.session import Session

IN_THREAD = 65536
"""Octets from which a message is read in a thread."""


async def assembled(session: "Session", letters: Sequence[Letter]) -> list[Letter]:
    """The letters with their parts put together (RFC 4469). Raises BadUrl, TooLarge, Overloaded, Unavailable."""
    return [await _assembled(session, letter) if letter.parts else letter for letter in letters]


async def _assembled(session: "Session", letter: Letter) -> Letter:
    pieces: list[bytes] = []
    size, limit = 0, session.parts.settings.append_limit
    for part in letter.parts:
        piece = part if isinstance(part, bytes) else await _read(session, part)
        size += len(piece)
        if size > limit:
            raise TooLarge(f"messages may have {limit} octets")
        pieces.append(piece)
    session.literals.claim(size)
    return replace(letter, octets=b"".join(pieces), parts=())


async def _read(session: "Session", url: MessageUrl) -> bytes:
    """What a URL names. Raises BadUrl, Unavailable."""
    storage, account = session.parts.storage, session.owner.id
    name = url.mailbox or (session.selection.name if session.selection is not None else "")
    box = (await read_tree(session)).find(name)
    if box is None or url.uidvalidity not in (None, box.uidvalidity):
        raise BadUrl(url.url)
    fields = needed_fields([url.section])
    rows = await storage.mail.messages_by_uid(account, box.id, [url.uid], fields)
    if not rows:
        raise BadUrl(url.url)
    message = rows[0].message
    async with session.parts.body_memory.held(message.size):
        try:
            found = await read_sections(await storage.blobs.of(account), message, [url.section])
        except BlobNotFound:
            raise BadUrl(url.url) from None
        content = found[url.section]
        if content is None:
            raise BadUrl(url.url)
        return bytes(content)


async def new_messages(session: "Session", mailbox: MailboxId, letters: Sequence[Letter]) -> list[NewMessage]:
    """Each letter as a message of `mailbox`; the blobs are prepared. Raises Unavailable."""
    return [await _new_message(session, mailbox, letter) for letter in letters]


async def _new_message(session: "Session", mailbox: MailboxId, letter: Letter) -> NewMessage:
    account, octets = session.owner.id, letter.octets
    summary = await asyncio.to_thread(summarize, octets) if len(octets) > IN_THREAD else summarize(octets)
    blob = await session.parts.storage.blobs.prepare(octets, accounts=[account])
    return NewMessage(account, [mailbox], summary, blob, letter.flags, letter.received_at)
