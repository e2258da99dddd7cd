"""The states of a session and which command each allows: all of it is in this table (RFC 9051 section 3)."""

from collections.abc import Mapping
from enum import Enum

from posthorn_imap.protocol.acl import GetAcl, ListRights, MyRights, SetAcl
from posthorn_imap.protocol.commands import (
    Append,
    Authenticate,
    CancelUpdate,
    Capability,
    Check,
    Close,
    Command,
    Compress,
    Copy,
    Create,
    Delete,
    Enable,
    Expunge,
    Fetch,
    GetJmapAccess,
    GetMetadata,
    GetQuota,
    GetQuotaRoot,
    Id,
    Idle,
    ListMailboxes,
    ListSubscribed,
    Login,
    Logout,
    MultiSearch,
    Namespace,
    Noop,
    Rename,
    Replace,
    Search,
    Select,
    SetMetadata,
    Sort,
    StartTls,
    Status,
    Store,
    Subscribe,
    Thread,
    Unauthenticate,
)
from posthorn_imap.protocol.notify import Notify
from posthorn_imap.protocol.search_keys import has_numbers
from posthorn_imap.protocol.url_access import GenUrlAuth, ResetKey, UrlFetch


class State(Enum):
    """The text says what a session in that state is."""

    FRESH = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "in a mailbox"
    ENDED = "logged out"


_ANY = frozenset({State.FRESH, State.AUTHENTICATED, State.SELECTED})
_BEFORE_LOGIN = frozenset({State.FRESH})
_AFTER_LOGIN = frozenset({State.AUTHENTICATED, State.SELECTED})
_IN_MAILBOX = frozenset({State.SELECTED})

ALLOWED: Mapping[type[Command], frozenset[State]] = {
    Capability: _ANY,
    Noop: _ANY,
    Logout: _ANY,
    Id: _ANY,
    StartTls: _BEFORE_LOGIN,
    Authenticate: _BEFORE_LOGIN,
    Login: _BEFORE_LOGIN,
    Unauthenticate: _AFTER_LOGIN,
    Compress: _AFTER_LOGIN,
    Enable: _AFTER_LOGIN,
    Namespace: _AFTER_LOGIN,
    Idle: _AFTER_LOGIN,
    Select: _AFTER_LOGIN,
    Create: _AFTER_LOGIN,
    Delete: _AFTER_LOGIN,
    Rename: _AFTER_LOGIN,
    Subscribe: _AFTER_LOGIN,
    ListMailboxes: _AFTER_LOGIN,
    ListSubscribed: _AFTER_LOGIN,
    Status: _AFTER_LOGIN,
    GetJmapAccess: _AFTER_LOGIN,
    GetQuota: _AFTER_LOGIN,
    GetQuotaRoot: _AFTER_LOGIN,
    GetMetadata: _AFTER_LOGIN,
    SetMetadata: _AFTER_LOGIN,
    Notify: _AFTER_LOGIN,
    SetAcl: _AFTER_LOGIN,
    GetAcl: _AFTER_LOGIN,
    ListRights: _AFTER_LOGIN,
    MyRights: _AFTER_LOGIN,
    GenUrlAuth: _AFTER_LOGIN,
    ResetKey: _AFTER_LOGIN,
    UrlFetch: _AFTER_LOGIN,
    Append: _AFTER_LOGIN,
    Check: _IN_MAILBOX,
    Close: _IN_MAILBOX,
    Expunge: _IN_MAILBOX,
    Search: _IN_MAILBOX,
    Sort: _IN_MAILBOX,
    CancelUpdate: _IN_MAILBOX,
    MultiSearch: _AFTER_LOGIN,
    Thread: _IN_MAILBOX,
    Fetch: _IN_MAILBOX,
    Store: _IN_MAILBOX,
    Copy: _IN_MAILBOX,
    Replace: _IN_MAILBOX,
}


def allowed(command: Command, state: State) -> bool:
    return state in ALLOWED[type(command)]


def refusal(command: Command, state: State) -> str:
    """Why a command that is not allowed is not."""
    needed = ALLOWED[type(command)]
    if needed == _BEFORE_LOGIN:
        return "already authenticated"
    if state is State.FRESH:
        return "log in first"
    return "select a mailbox first"


def speaks_of_numbers(command: Command) -> bool:
    """Whether a command names or asks for sequence numbers, which is BAD once UIDONLY is enabled (RFC 9586 3.1)."""
    match command:
        case Fetch() | Store() | Copy() | Replace():
            return not command.uid
        case Search() | Sort() | Thread():
            return not command.uid or has_numbers(command.key)
        case MultiSearch():
            return has_numbers(command.key)
    return False


def may_tell_expunges(command: Command) -> bool:
    """Whether EXPUNGE responses may be sent while the command is answered.

    Not where the client speaks of sequence numbers that would change under it (RFC 9051 7.5.1).
    """
    return not isinstance(command, Fetch | Store | Search | Sort | Thread) or command.uid
