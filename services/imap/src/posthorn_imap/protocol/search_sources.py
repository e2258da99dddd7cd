"""Which mailboxes a command means that goes to several at once (RFC 5465 6, RFC 7377 2.1): read as values."""

from dataclasses import dataclass
from enum import Enum

from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem
from posthorn_imap.protocol.mailbox_names import mailbox_name

MAX_NAMES = 500
"""Mailboxes named in one source."""


class Scope(Enum):
    """Which mailboxes a filter means (RFC 5465 6, RFC 7377 2.1)."""

    SELECTED = b"SELECTED"
    INBOXES = b"INBOXES"
    PERSONAL = b"PERSONAL"
    SUBSCRIBED = b"SUBSCRIBED"
    SUBTREE = b"SUBTREE"
    SUBTREE_ONE = b"SUBTREE-ONE"
    MAILBOXES = b"MAILBOXES"


@dataclass(frozen=True, slots=True)
class Source:
    """Mailboxes to search; `names` for the last three scopes."""

    scope: Scope
    names: tuple[str, ...] = ()


_NAMED = frozenset({Scope.SUBTREE, Scope.SUBTREE_ONE, Scope.MAILBOXES})


def source(cursor: Cursor) -> Source:
    try:
        scope = Scope(cursor.word())
    except ValueError:
        raise SyntaxProblem("unknown mailboxes to search") from None
    if scope not in _NAMED:
        return Source(scope)
    cursor.space()
    names = cursor.listed(_name) if cursor.peek() == b"(" else [_name(cursor)]
    if len(names) > MAX_NAMES:
        raise SyntaxProblem(f"more than {MAX_NAMES} mailboxes")
    return Source(scope, tuple(names))


def _name(cursor: Cursor) -> str:
    return mailbox_name(cursor.astring(), utf8=cursor.utf8)
