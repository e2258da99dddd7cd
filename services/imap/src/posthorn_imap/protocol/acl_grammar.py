"""Arguments of the commands on rights (RFC 4314 4)."""

from collections.abc import Callable, Mapping
from typing import Literal

from posthorn_imap.protocol.acl import GetAcl, Identifier, ListRights, MyRights, SetAcl
from posthorn_imap.protocol.commands import Command
from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem
from posthorn_imap.protocol.mailbox_grammar import mailbox
from posthorn_model.errors import InvalidContent
from posthorn_model.rights import Right, rights

MAX_IDENTIFIER = 512
_OPS: Mapping[bytes, Literal["add", "remove"]] = {b"+": "add", b"-": "remove"}


def _identifier(cursor: Cursor) -> Identifier:
    cursor.space()
    octets = cursor.astring()
    try:
        name = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxProblem("identifiers are in UTF-8") from None
    negative = name.startswith("-")
    name = name.removeprefix("-")
    if not name or len(octets) > MAX_IDENTIFIER or not name.isprintable():
        raise SyntaxProblem("no valid identifier")
    return Identifier(name, negative)


def _set_acl(cursor: Cursor) -> SetAcl:
    name, identifier = mailbox(cursor), _identifier(cursor)
    cursor.space()
    octets = cursor.astring()
    op = _OPS.get(octets[:1])
    try:
        given = rights((octets[1:] if op else octets).decode("ascii", "replace"))
    except InvalidContent:
        raise SyntaxProblem("there is no such right") from None
    return SetAcl(name, identifier, op or "replace", given)


def _delete_acl(cursor: Cursor) -> SetAcl:
    return SetAcl(mailbox(cursor), _identifier(cursor), "replace", Right.NONE, "DELETEACL")


ACL_COMMANDS: Mapping[str, Callable[[Cursor], Command]] = {
    "SETACL": _set_acl,
    "DELETEACL": _delete_acl,
    "GETACL": lambda cursor: GetAcl(mailbox(cursor)),
    "LISTRIGHTS": lambda cursor: ListRights(mailbox(cursor), _identifier(cursor)),
    "MYRIGHTS": lambda cursor: MyRights(mailbox(cursor)),
}
