"""From a framed command to a Request: the tag, the verb and its arguments (RFC 9051 section 9).

Reads values only; what a state allows is in state.py, what a mailbox holds is no business of the grammar.
"""

import re
from collections.abc import Callable, Mapping, Set

from posthorn_imap.protocol.account_grammar import ACCOUNT_COMMANDS
from posthorn_imap.protocol.acl_grammar import ACL_COMMANDS
from posthorn_imap.protocol.commands import (
    Authenticate,
    Capability,
    Check,
    Close,
    Command,
    Compress,
    Enable,
    Expunge,
    GetJmapAccess,
    Id,
    Idle,
    Login,
    Logout,
    Namespace,
    Noop,
    Request,
    StartTls,
    Unauthenticate,
)
from posthorn_imap.protocol.cursor import TAG, Cursor, SyntaxProblem
from posthorn_imap.protocol.framer import Parts
from posthorn_imap.protocol.mailbox_grammar import MAILBOX_COMMANDS
from posthorn_imap.protocol.message_grammar import MESSAGE_COMMANDS, UID_COMMANDS
from posthorn_imap.protocol.notify_grammar import NOTIFY_COMMANDS
from posthorn_imap.protocol.search_grammar import cancel_update, multi_search
from posthorn_imap.protocol.sets import number_set
from posthorn_imap.protocol.url_grammar import URL_COMMANDS

_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}|=")
_VERB = re.compile(rb"[A-Za-z0-9]+")
_MAX_ID_FIELDS = 30

Reader = Callable[[Cursor], Command]


class CommandProblem(Exception):
    """The command cannot be read. `tag` is None when not even that could be; `garbage`: it is none at all."""

    def __init__(self, tag: bytes | None, reason: str, *, garbage: bool = False) -> None:
        super().__init__(reason)
        self.tag = tag
        self.reason = reason
        self.garbage = garbage


def tag_of(head: bytes) -> bytes | None:
    """The tag of a command that could not be read, if it has one."""
    found = TAG.match(head)
    return found[0] if found and head[found.end() : found.end() + 1] == b" " else None


class UnknownCommand(SyntaxProblem):
    """A well-formed command that is not one of this server's."""


def verb_of(head: bytes) -> bytes:
    """The verb of a command of which only the start is there, in upper case, as Request has it."""
    words = head[:256].upper().split(b" ", 3)
    return b" ".join(words[1:3] if words[1:2] == [b"UID"] else words[1:2])


def read_request(parts: Parts, enabled: Set[bytes] = frozenset()) -> Request:
    """Read a whole command of a client that has `enabled` these.

    Raises CommandProblem, and UnknownCharset for SEARCH.
    """
    cursor = Cursor(parts, enabled)
    try:
        tag = cursor.tag()
        cursor.space()
    except SyntaxProblem as problem:
        raise CommandProblem(None, str(problem), garbage=True) from None
    try:
        verb, reader = _verb(cursor)
    except SyntaxProblem as problem:
        # A client may try the commands of extensions; what other protocols say has a colon where a tag would be.
        tried = isinstance(problem, UnknownCommand) and b":" not in tag
        raise CommandProblem(tag, str(problem), garbage=not tried) from None
    try:
        command = reader(cursor)
        cursor.end()
    except SyntaxProblem as problem:
        raise CommandProblem(tag, f"{verb}: {problem}") from None
    return Request(tag, verb, command)


def _word(cursor: Cursor) -> str:
    found = cursor.match(_VERB)
    if found is None:
        raise SyntaxProblem("expected a command")
    return found[0].decode().upper()


def _verb(cursor: Cursor) -> tuple[str, Reader]:
    verb = _word(cursor)
    table: Mapping[str, Reader] = _COMMANDS
    if verb == "UID":
        cursor.space()
        verb, table = _word(cursor), _UID_COMMANDS
    reader = table.get(verb)
    if reader is None:
        raise UnknownCommand(f"unknown command {verb[:32]}")
    return verb if table is _COMMANDS else f"UID {verb}", reader


def _compress(cursor: Cursor) -> Compress:
    cursor.space()
    return Compress(cursor.word())


def _authenticate(cursor: Cursor) -> Authenticate:
    cursor.space()
    mechanism = cursor.word()
    initial = None
    if cursor.accept(b" "):
        found = cursor.match(_BASE64)
        initial = found[0] if found else None
    return Authenticate(mechanism, initial)


def _login(cursor: Cursor) -> Login:
    cursor.space()
    user = cursor.astring()
    cursor.space()
    return Login(user, cursor.astring())


def _id(cursor: Cursor) -> Id:
    cursor.space()
    if cursor.peek() != b"(":
        if cursor.nstring() is not None:
            raise SyntaxProblem("expected a list or NIL")
        return Id(())
    fields = _id_fields(cursor)
    if len(fields) > _MAX_ID_FIELDS:
        raise SyntaxProblem(f"more than {_MAX_ID_FIELDS} fields")
    return Id(tuple(fields))


def _id_fields(cursor: Cursor) -> list[tuple[bytes, bytes]]:
    """Names and values; aioimaplib sends spaces inside of the parentheses, which mean nothing."""
    cursor.expect(b"(")
    fields = []
    cursor.accept(b" ")
    while not cursor.accept(b")"):
        fields.append(_id_field(cursor))
        if cursor.peek() != b")":
            cursor.space()
    return fields


def _id_field(cursor: Cursor) -> tuple[bytes, bytes]:
    name = cursor.string()
    cursor.space()
    return name[:30], (cursor.nstring() or b"")[:1024]


def _enable(cursor: Cursor) -> Enable:
    names = []
    cursor.space()
    names.append(cursor.word())
    while cursor.accept(b" "):
        names.append(cursor.word())
    return Enable(tuple(names))


def _uid_expunge(cursor: Cursor) -> Expunge:
    cursor.space()
    return Expunge(number_set(cursor))


def _constant(command: Command) -> Reader:
    return lambda _cursor: command


_COMMANDS: Mapping[str, Reader] = {
    "CAPABILITY": _constant(Capability()),
    "NOOP": _constant(Noop()),
    "LOGOUT": _constant(Logout()),
    "STARTTLS": _constant(StartTls()),
    "NAMESPACE": _constant(Namespace()),
    "GETJMAPACCESS": _constant(GetJmapAccess()),
    "IDLE": _constant(Idle()),
    "CHECK": _constant(Check()),
    "CLOSE": _constant(Close(expunge=True)),
    "UNSELECT": _constant(Close(expunge=False)),
    "EXPUNGE": _constant(Expunge()),
    "UNAUTHENTICATE": _constant(Unauthenticate()),
    "COMPRESS": _compress,
    "AUTHENTICATE": _authenticate,
    "LOGIN": _login,
    "ID": _id,
    "ENABLE": _enable,
    **ACCOUNT_COMMANDS,
    **ACL_COMMANDS,
    **URL_COMMANDS,
    "ESEARCH": multi_search,
    "CANCELUPDATE": cancel_update,
    **NOTIFY_COMMANDS,
    **MAILBOX_COMMANDS,
    **MESSAGE_COMMANDS,
}
_UID_COMMANDS: Mapping[str, Reader] = {"EXPUNGE": _uid_expunge, **UID_COMMANDS}
VERBS = frozenset(_COMMANDS) | {f"UID {verb}" for verb in _UID_COMMANDS}
"""Every command that is understood."""
