"""GENURLAUTH, RESETKEY, URLFETCH (RFC 4467): URLs that lend others the right to read one message or a part of it."""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import find_mailbox
from posthorn_imap.places import permitted
from posthorn_imap.protocol.message_urls import BadUrl
from posthorn_imap.protocol.responses import Answer, ok, string, untagged
from posthorn_imap.protocol.url_access import MECHANISM, GenUrlAuth, ResetKey, UrlFetch, access_url, token_of
from posthorn_imap.url_reading import read_lent
from posthorn_model.errors import AccountNotFound
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session

SLICE = 65536


async def gen_url_auth(session: "Session", command: GenUrlAuth) -> Answer:
    """Only the session's own rights can be lent, on mailboxes that are there and may be read."""
    storage, user = session.parts.storage, session.user
    made = []
    for octets in command.urls:
        url = access_url(octets)
        try:
            lender = await storage.directory.find_account(url.user)
        except AccountNotFound:
            raise BadUrl(octets) from None
        if lender.id != user.id or url.mechanism:
            raise BadUrl(octets)
        found = permitted(await find_mailbox(session, url.message.mailbox), Right.READ)
        key = await storage.mail.make_url_key(user.id, *found.place)
        made.append(string(url.rump + b":" + MECHANISM + b":" + token_of(url.rump, key).encode()))
    session.write(untagged(b"GENURLAUTH", *made))
    return ok("GENURLAUTH completed")


async def reset_key(session: "Session", command: ResetKey) -> Answer:
    """All URLs that were made before prove nothing any more: of one mailbox, or of all."""
    place = None
    if command.mailbox is not None:
        place = permitted(await find_mailbox(session, command.mailbox), Right.LOOKUP).place
    await session.parts.storage.mail.reset_url_keys(session.user.id, place)
    return ok("RESETKEY completed", b"URLMECH " + MECHANISM)


async def url_fetch(session: "Session", command: UrlFetch) -> Answer:
    """NIL for each URL that gives nothing, whatever the reason is (RFC 4467 7)."""
    for octets in command.urls:
        try:
            content = await read_lent(session, access_url(octets))
        except BadUrl:
            content = None
        session.write(b"* URLFETCH " + string(octets) + b" ")
        if content is None:
            session.write(b"NIL\r\n")
        else:
            session.write(b"{%d}\r\n" % len(content))
            for start in range(0, len(content), SLICE):
                session.write(content[start : start + SLICE])
                await session.connection.flow()
            session.write(b"\r\n")
        await session.connection.flow()
    return ok("URLFETCH completed")
