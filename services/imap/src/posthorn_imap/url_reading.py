"""What URLs of messages name (RFC 5092), for CATENATE and URLFETCH; some lend another's right to read it (RFC 4467)."""

from typing import TYPE_CHECKING

from posthorn_imap.body_sections import needed_fields, read_sections
from posthorn_imap.mailbox_tree import find_for, find_mailbox
from posthorn_imap.places import Named
from posthorn_imap.protocol.message_urls import MessageUrl
from posthorn_imap.protocol.url_access import AccessUrl, proves
from posthorn_model.errors import AccountNotFound, BlobNotFound
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def read_url(session: "Session", url: MessageUrl) -> bytes | None:
    """What a URL names in a mailbox that the session may read; None where it leads nowhere. Raises Unavailable."""
    name = url.mailbox or (session.selection.name if session.selection is not None else "")
    return await _content(session, await find_mailbox(session, name), url)


async def read_lent(session: "Session", url: AccessUrl) -> bytes | None:
    """What a URL names that somebody may read who lends that right; None where it is not for this session, has
    expired, was taken back, or leads nowhere. Raises Unavailable.
    """
    storage, expires = session.parts.storage, url.expires
    if expires is not None and expires.timestamp() <= session.parts.clock.time():
        return None
    try:
        if not await _may_use(session, url):
            return None
        lender = await storage.directory.find_account(url.user)
    except AccountNotFound:
        return None
    found = await find_for(session.parts, lender.id, url.message.mailbox)
    if found is None:
        return None
    key = await storage.mail.url_key(lender.id, *found.place)
    return await _content(session, found, url.message) if key is not None and proves(url, key) else None


async def _may_use(session: "Session", url: AccessUrl) -> bool:
    """Whether the session is whom it is for (RFC 4467 2.3). Nobody here submits on behalf of others. Raises
    AccountNotFound."""
    if url.kind == "user":
        return (await session.parts.storage.directory.find_account(url.name)).id == session.user.id
    return url.kind in ("anonymous", "authuser")


async def _content(session: "Session", found: Named | None, url: MessageUrl) -> bytes | None:
    if found is None or not found.may(Right.READ) or url.uidvalidity not in (None, found.box.uidvalidity):
        return None
    storage = session.parts.storage
    rows = await storage.mail.messages_by_uid(*found.place, [url.uid], needed_fields([url.section]))
    if not rows:
        return None
    message = rows[0].message
    async with session.parts.body_memory.held(message.size):
        try:
            blobs = await storage.blobs.of(found.place.account)
            content = (await read_sections(blobs, message, [url.section]))[url.section]
        except BlobNotFound:
            return None
        return None if content is None else bytes(content)
