"""GETMETADATA and SETMETADATA (RFC 5464): annotations of mailboxes, and of the server as this account sees it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import find_mailbox
from posthorn_imap.places import Named, Place, permitted
from posthorn_imap.protocol.commands import GetMetadata, SetMetadata
from posthorn_imap.protocol.responses import Answer, astring, listed, no, ok, string8, untagged
from posthorn_model.errors import MissingRight, TooLarge, TooMany
from posthorn_model.rights import Right
from posthorn_storage.mail import metadata

if TYPE_CHECKING:
    from posthorn_imap.session import Session

_ANNOTATING = Right.READ | Right.SEEN | Right.WRITE | Right.INSERT | Right.POST


async def get_metadata(session: "Session", command: GetMetadata) -> Answer:
    """Entries that are not set are told as NIL; of those below them that are, only values."""
    place = await _place(session, command.mailbox, Right.LOOKUP)
    kept = await session.parts.storage.mail.metadata(
        *place, command.entries, holder=session.user.id, below=command.depth > 0
    )
    shown = {name: value for name, value in kept.items() if _near(name, command)}
    longest = max((len(value) for value in shown.values()), default=0)
    limit = longest if command.max_size is None else command.max_size
    shown = {name: value for name, value in shown.items() if len(value) <= limit}
    missing = [name for name in command.entries if name not in kept]
    if shown or missing:
        session.write(metadata_response(session, command.mailbox, [*shown, *missing], shown))
    if longest > limit:
        return ok("Some values are longer", b"METADATA LONGENTRIES %d" % longest)
    return ok("GETMETADATA completed")


def _near(name: str, command: GetMetadata) -> bool:
    """Whether an entry is one of those asked for, or as far below one as the client wants to see."""
    return any(
        name == wanted or (name.startswith(wanted + "/") and name.count("/") - wanted.count("/") <= command.depth)
        for wanted in command.entries
    )


def metadata_response(session: "Session", mailbox: str, names: Iterable[str], values: Mapping[str, bytes]) -> bytes:
    """The METADATA response with these names (RFC 5464 4.4.1)."""
    words = [astring(name.encode()) + b" " + string8(values.get(name)) for name in names]
    return untagged(b"METADATA", session.name(mailbox), listed(words))


async def metadata_of(session: "Session", named: Named, entries: Sequence[str]) -> bytes:
    """The METADATA response that LIST gives with a mailbox (RFC 9590)."""
    mail = session.parts.storage.mail
    return metadata_response(
        session, named.name, entries, await mail.metadata(*named.place, entries, holder=session.user.id)
    )


async def set_metadata(session: "Session", command: SetMetadata) -> Answer:
    shared = any(name.startswith("/shared/") for name, _ in command.values)
    place = await _place(session, command.mailbox, Right.LOOKUP | (Right.WRITE if shared else Right.NONE))
    if place.mailbox == metadata.ACCOUNT and shared:
        return no("What is shared by all of the server is not yours to set", b"NOPERM")
    try:
        await session.parts.storage.mail.set_metadata(*place, dict(command.values), holder=session.user.id)
    except TooLarge as error:
        return no(error.public, b"METADATA MAXSIZE %d" % metadata.MAX_VALUE)
    except TooMany as error:
        return no(error.public, b"METADATA TOOMANY")
    return ok("SETMETADATA completed")


async def _place(session: "Session", name: str, needed: Right) -> Place:
    """The mailbox, or the account itself for the empty name.

    Beside the rights needed one of r s w i p must be there (RFC 5464 3.3). Raises MailboxNotFound, MissingRight.
    """
    if not name:
        return Place(session.user.id, metadata.ACCOUNT)
    named = permitted(await find_mailbox(session, name), needed)
    if not named.held & _ANNOTATING:
        raise MissingRight(account=named.place.account, mailbox=named.place.mailbox)
    return named.place
