"""Makes messages of what clients append: read once, their content stored before any row speaks of it (design law 3)."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Letter
from posthorn_mail_format import summarize
from posthorn_model.ids import MailboxId
from posthorn_model.mail import NewMessage

if TYPE_CHECKING:
    from posthorn_imap.session import Session

IN_THREAD = 65536
"""Octets from which a message is read in a thread."""


async def new_messages(session: "Session", mailbox: MailboxId, letters: Sequence[Letter]) -> list[NewMessage]:
    """Each letter as a message of `mailbox`; the blobs are prepared. Raises Unavailable."""
    return [await _new_message(session, mailbox, letter) for letter in letters]


async def _new_message(session: "Session", mailbox: MailboxId, letter: Letter) -> NewMessage:
    account, octets = session.owner.id, letter.octets
    summary = await asyncio.to_thread(summarize, octets) if len(octets) > IN_THREAD else summarize(octets)
    blob = await session.parts.storage.blobs.prepare(octets, accounts=[account])
    return NewMessage(account, [mailbox], summary, blob, letter.flags, letter.received_at)
