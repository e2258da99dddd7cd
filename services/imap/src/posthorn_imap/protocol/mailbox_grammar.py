"""Arguments of the commands on mailboxes (RFC 9051 6.3; RFC 5258, 5819, 6154, 7162)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from posthorn_imap.protocol.commands import (
    Command,
    Create,
    Delete,
    ListMailboxes,
    ListSubscribed,
    Rename,
    Resync,
    Select,
    Status,
    StatusItem,
    Subscribe,
)
from posthorn_imap.protocol.cursor import MAX_NUMBER64, Cursor, SyntaxProblem, Unsupported
from posthorn_imap.protocol.mailbox_names import decode_name, mailbox_name
from posthorn_imap.protocol.metadata_names import entry_names
from posthorn_imap.protocol.sets import NumberSet, number_set
from posthorn_model.mail import Role

_MAX_PATTERNS = 32
_USES = {
    b"\\DRAFTS": Role.DRAFTS,
    b"\\SENT": Role.SENT,
    b"\\JUNK": Role.JUNK,
    b"\\TRASH": Role.TRASH,
    b"\\ARCHIVE": Role.ARCHIVE,
}


class UnknownUse(Unsupported):
    """CREATE asks for a special use that cannot be given (RFC 6154 3)."""

    text = "That special use is not offered"
    code = b"USEATTR"


def mailbox(cursor: Cursor) -> str:
    """Read a space and a mailbox name."""
    cursor.space()
    return mailbox_name(cursor.astring(), utf8=cursor.utf8)


def _select(cursor: Cursor, *, read_only: bool) -> Select:
    name = mailbox(cursor)
    condstore, resync = False, None
    if cursor.accept(b" "):
        for parameter in cursor.listed(_select_parameter):
            condstore = True
            resync = parameter or resync
    return Select(name, read_only, condstore, resync)


def _select_parameter(cursor: Cursor) -> Resync | None:
    match cursor.word():
        case b"CONDSTORE":
            return None
        case b"QRESYNC":
            cursor.space()
            return _resync(cursor)
    raise SyntaxProblem("unknown SELECT parameter")


def _resync(cursor: Cursor) -> Resync:
    cursor.expect(b"(")
    uidvalidity = cursor.nonzero()
    cursor.space()
    modseq = cursor.nonzero(MAX_NUMBER64)
    known, match = None, None
    if cursor.accept(b" "):
        if cursor.peek() != b"(":
            known = number_set(cursor, saved=False)
        if known is None or cursor.accept(b" "):
            match = _sequence_match(cursor)
    cursor.expect(b")")
    return Resync(uidvalidity, modseq, known, match)


def _sequence_match(cursor: Cursor) -> tuple[NumberSet, NumberSet]:
    cursor.expect(b"(")
    numbers = number_set(cursor, saved=False)
    cursor.space()
    uids = number_set(cursor, saved=False)
    cursor.expect(b")")
    return numbers, uids


def _create(cursor: Cursor) -> Create:
    name = mailbox(cursor)
    role: Role | None = None
    if cursor.accept(b" "):
        uses = cursor.listed(_create_parameter)
        if len(uses) > 1 or len(uses[0]) > 1:
            raise UnknownUse
        role = uses[0][0] if uses[0] else None
    # RFC 3501 6.3.3: a separator at the end only tells that inferiors will follow.
    return Create(name[:-1] if name.endswith("/") else name, role)


def _create_parameter(cursor: Cursor) -> list[Role]:
    if cursor.word() != b"USE":
        raise SyntaxProblem("unknown CREATE parameter")
    cursor.space()
    return cursor.listed(_use, least=0)


def _use(cursor: Cursor) -> Role:
    cursor.expect(b"\\")
    role = _USES.get(b"\\" + cursor.word())
    if role is None:
        raise UnknownUse
    return role


def _rename(cursor: Cursor) -> Rename:
    old = mailbox(cursor)
    return Rename(old, mailbox(cursor))


def _status(cursor: Cursor) -> Status:
    name = mailbox(cursor)
    cursor.space()
    return Status(name, _status_items(cursor))


def _status_items(cursor: Cursor) -> tuple[StatusItem, ...]:
    return tuple(dict.fromkeys(cursor.listed(_status_item)))


def _status_item(cursor: Cursor) -> StatusItem:
    try:
        return StatusItem(cursor.word())
    except ValueError:
        raise SyntaxProblem("unknown STATUS item") from None


def _list(cursor: Cursor) -> ListMailboxes:
    cursor.space()
    options: set[bytes] = set()
    if cursor.peek() == b"(":
        options = set(cursor.listed(Cursor.word, least=0))
        cursor.space()
        if options - {b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH", b"SPECIAL-USE"}:
            raise SyntaxProblem("unknown selection option")
        if b"RECURSIVEMATCH" in options and not options & {b"SUBSCRIBED", b"SPECIAL-USE"}:
            raise SyntaxProblem("RECURSIVEMATCH needs another selection option")
    reference = _decoded(cursor, cursor.astring())
    cursor.space()
    extended = cursor.peek() == b"("
    patterns = cursor.listed(Cursor.list_mailbox) if extended else [cursor.list_mailbox()]
    if len(patterns) > _MAX_PATTERNS:
        raise SyntaxProblem("too many patterns")
    returns = _list_returns(cursor)
    wanted = tuple(_decoded(cursor, each) for each in patterns)
    return replace(
        returns,
        patterns=tuple(reference + each for each in wanted),
        subscribed_only=b"SUBSCRIBED" in options,
        special_only=b"SPECIAL-USE" in options,
        recursive_match=b"RECURSIVEMATCH" in options,
        return_subscribed=returns.return_subscribed or b"SUBSCRIBED" in options,
        separator_only=wanted == ("",) and not extended and not options,
    )


def _list_returns(cursor: Cursor) -> ListMailboxes:
    """The RETURN options that change the answer: CHILDREN and SPECIAL-USE attributes are always told."""
    found = ListMailboxes(())
    if cursor.accept(b" RETURN "):
        for option in cursor.listed(_list_return, least=0):
            found = replace(found, **option)
    return found


def _list_return(cursor: Cursor) -> dict[str, Any]:
    """What an option sets."""
    match cursor.word():
        case b"STATUS":
            cursor.space()
            return {"return_status": _status_items(cursor)}
        case b"METADATA":
            cursor.space()
            return {"return_metadata": entry_names(cursor)}
        case b"MYRIGHTS":
            return {"return_rights": True}
        case b"SUBSCRIBED":
            return {"return_subscribed": True}
        case b"CHILDREN" | b"SPECIAL-USE":
            return {}
    raise SyntaxProblem("unknown return option")


def _lsub(cursor: Cursor) -> ListSubscribed:
    cursor.space()
    reference = _decoded(cursor, cursor.astring())
    cursor.space()
    return ListSubscribed(reference + _decoded(cursor, cursor.list_mailbox()))


def _decoded(cursor: Cursor, octets: bytes) -> str:
    return decode_name(octets, utf8=cursor.utf8)


MAILBOX_COMMANDS: Mapping[str, Callable[[Cursor], Command]] = {
    "SELECT": lambda cursor: _select(cursor, read_only=False),
    "EXAMINE": lambda cursor: _select(cursor, read_only=True),
    "CREATE": _create,
    "DELETE": lambda cursor: Delete(mailbox(cursor)),
    "RENAME": _rename,
    "SUBSCRIBE": lambda cursor: Subscribe(mailbox(cursor), subscribed=True),
    "UNSUBSCRIBE": lambda cursor: Subscribe(mailbox(cursor), subscribed=False),
    "LIST": _list,
    "LSUB": _lsub,
    "STATUS": _status,
}
