"""SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 3).

Identifiers are the addresses of accounts, and "anyone". The owner of a mailbox has every right, which nobody changes.
"""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import find_mailbox
from posthorn_imap.places import Named, permitted
from posthorn_imap.protocol.acl import GRANTABLE, GetAcl, Identifier, ListRights, MyRights, SetAcl, write_rights
from posthorn_imap.protocol.responses import Answer, astring, ok, untagged
from posthorn_model.errors import AccountNotFound
from posthorn_model.ids import AccountId
from posthorn_model.rights import ALL, Right
from posthorn_storage.mail.rights import ANYONE, RightsEntry

if TYPE_CHECKING:
    from posthorn_imap.session import Session

_ANYONE = "anyone"
_TELLING = Right.LOOKUP | Right.READ | Right.INSERT | Right.CREATE | Right.DELETE_MAILBOX | Right.ADMINISTER
"""Of these one is enough to ask for one's own rights (RFC 4314 4)."""


async def set_acl(session: "Session", command: SetAcl) -> Answer:
    named = await _administered(session, command.mailbox)
    grantee = await _grantee(session, command.identifier)
    entry = RightsEntry(grantee, command.rights, command.identifier.negative)
    await session.parts.storage.mail.set_rights(*named.place, entry, command.op)
    return ok(f"{command.verb} completed")


async def get_acl(session: "Session", command: GetAcl) -> Answer:
    """Entries of accounts that are gone are not told."""
    named = await _administered(session, command.mailbox)
    storage = session.parts.storage
    entries = await storage.mail.rights(*named.place)
    known = {entry.grantee for entry in entries} | {named.place.account}
    names = {record.id: record.address for record in await storage.directory.accounts(known)} | {ANYONE: _ANYONE}
    words = [session.name(command.mailbox)]
    for entry in (RightsEntry(named.place.account, ALL), *entries):
        if (name := names.get(entry.grantee)) is not None:
            words += [_written(Identifier(name, entry.negative)), write_rights(entry.rights)]
    session.write(untagged(b"ACL", *words))
    return ok("GETACL completed")


async def list_rights(session: "Session", command: ListRights) -> Answer:
    """Each right can be given alone; to the owner none, who has them all."""
    named = await _administered(session, command.mailbox)
    grantee = await _grantee(session, command.identifier)
    can = write_rights(ALL) if grantee == named.place.account else b'"" ' + GRANTABLE
    session.write(untagged(b"LISTRIGHTS", session.name(command.mailbox), _written(command.identifier), can))
    return ok("LISTRIGHTS completed")


async def my_rights(session: "Session", command: MyRights) -> Answer:
    named = permitted(await find_mailbox(session, command.mailbox), Right.NONE)
    if not named.held & _TELLING:
        permitted(named, Right.LOOKUP)
    session.write(my_rights_response(session, command.mailbox, named.held))
    return ok("MYRIGHTS completed")


def my_rights_response(session: "Session", name: str, held: Right) -> bytes:
    """The MYRIGHTS response, which LIST gives too (RFC 8440)."""
    return untagged(b"MYRIGHTS", session.name(name), astring(write_rights(held)))


async def _administered(session: "Session", mailbox: str) -> Named:
    """Raises MailboxNotFound, MissingRight."""
    return permitted(await find_mailbox(session, mailbox), Right.ADMINISTER)


async def _grantee(session: "Session", identifier: Identifier) -> AccountId:
    """Raises AccountNotFound."""
    if identifier.name == _ANYONE:
        return ANYONE
    try:
        return (await session.parts.storage.directory.find_account(identifier.name)).id
    except AccountNotFound:
        raise AccountNotFound("that is the address of no account") from None


def _written(identifier: Identifier) -> bytes:
    return astring(("-" if identifier.negative else "").encode() + identifier.name.encode())
