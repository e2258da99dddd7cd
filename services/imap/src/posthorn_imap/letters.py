"""Makes messages of what clients append: read once, their content stored before any row speaks of it (design law 3)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from posthorn_imap.access import allowed_flags
from posthorn_imap.places import Named
from posthorn_imap.protocol.commands import Letter
from posthorn_imap.protocol.message_urls import BadUrl, MessageUrl
from posthorn_imap.protocol.url_access import AccessUrl
from posthorn_imap.url_reading import read_lent, read_url
from posthorn_mail_format import summarize
from posthorn_model.errors import TooLarge
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


async def _read(session: "Session", url: MessageUrl | AccessUrl) -> bytes:
    """What a URL names. Raises BadUrl, Unavailable."""
    content = await (read_lent(session, url) if isinstance(url, AccessUrl) else read_url(session, url))
    if content is None:
        raise BadUrl(url.url)
    return content


async def new_messages(session: "Session", target: Named, letters: Sequence[Letter]) -> list[NewMessage]:
    """Each letter as a message of a mailbox, with the flags that may be set there; the blobs are prepared.

    Raises Unavailable.
    """
    return [await _new_message(session, target, letter) for letter in letters]


async def _new_message(session: "Session", target: Named, letter: Letter) -> NewMessage:
    (account, mailbox), octets = target.place, letter.octets
    summary = await asyncio.to_thread(summarize, octets) if len(octets) > IN_THREAD else summarize(octets)
    blob = await session.parts.storage.blobs.prepare(octets, accounts=[account])
    return NewMessage(account, [mailbox], summary, blob, allowed_flags(target.held, letter.flags), letter.received_at)
