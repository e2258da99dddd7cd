"""The commands as values: what the grammar makes of a client's words. Names of mailboxes are decoded."""
# size: one value for each command

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal

from posthorn_imap.protocol.acl import GetAcl, ListRights, MyRights, SetAcl
from posthorn_imap.protocol.fetch_items import FetchItem
from posthorn_imap.protocol.message_urls import MessageUrl
from posthorn_imap.protocol.notify import Notify
from posthorn_imap.protocol.search_keys import Key
from posthorn_imap.protocol.search_sources import Source
from posthorn_imap.protocol.sets import NumberSet
from posthorn_imap.protocol.sort_keys import Criterion
from posthorn_imap.protocol.url_access import AccessUrl, GenUrlAuth, ResetKey, UrlFetch
from posthorn_model.flags import Flags
from posthorn_model.mail import Role


@dataclass(frozen=True, slots=True)
class Capability:
    pass


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP, and CHECK (RFC 3501 6.4.1): everything is always checkpointed."""


@dataclass(frozen=True, slots=True)
class Check:
    pass


@dataclass(frozen=True, slots=True)
class Logout:
    pass


@dataclass(frozen=True, slots=True)
class StartTls:
    pass


@dataclass(frozen=True, slots=True)
class Compress:
    """RFC 4978."""

    mechanism: bytes


@dataclass(frozen=True, slots=True)
class Unauthenticate:
    """RFC 8437."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """`initial` is the response sent along (RFC 4959), still in base64; b"=" is an empty one."""

    mechanism: bytes
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class Login:
    user: bytes
    password: bytes

    def __repr__(self) -> str:
        return "Login(...)"


@dataclass(frozen=True, slots=True)
class Id:
    """RFC 2971. The client's fields, at most 30."""

    fields: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Enable:
    capabilities: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Namespace:
    pass


@dataclass(frozen=True, slots=True)
class GetJmapAccess:
    """RFC 9698."""


@dataclass(frozen=True, slots=True)
class Idle:
    pass


@dataclass(frozen=True, slots=True)
class Resync:
    """QRESYNC arguments of SELECT (RFC 7162 3.2.5)."""

    uidvalidity: int
    modseq: int
    known: NumberSet | None = None
    match: tuple[NumberSet, NumberSet] | None = None
    """Sequence numbers and the UIDs they had."""


@dataclass(frozen=True, slots=True)
class Select:
    mailbox: str
    read_only: bool
    condstore: bool = False
    resync: Resync | None = None


@dataclass(frozen=True, slots=True)
class Create:
    mailbox: str
    use: Role | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    mailbox: str
    subscribed: bool
    """False for UNSUBSCRIBE."""


class StatusItem(Enum):
    """Items of STATUS (RFC 9051 6.3.11, 7162, 7889, 8438, 8474, 9208)."""

    MESSAGES = b"MESSAGES"
    RECENT = b"RECENT"
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    DELETED = b"DELETED"
    SIZE = b"SIZE"
    HIGHESTMODSEQ = b"HIGHESTMODSEQ"
    MAILBOXID = b"MAILBOXID"
    APPENDLIMIT = b"APPENDLIMIT"
    DELETED_STORAGE = b"DELETED-STORAGE"


@dataclass(frozen=True, slots=True)
class ListMailboxes:
    """LIST with what RFC 5258, 5819 and 6154 add. `patterns` include the reference."""

    patterns: tuple[str, ...]
    subscribed_only: bool = False
    special_only: bool = False
    recursive_match: bool = False
    return_subscribed: bool = False
    return_status: tuple[StatusItem, ...] = ()
    return_metadata: tuple[str, ...] = ()
    """Names of annotations (RFC 9590)."""
    return_rights: bool = False
    """What the session may do with each (RFC 8440)."""
    separator_only: bool = False
    """The pattern was "": the client asks for the hierarchy separator."""


@dataclass(frozen=True, slots=True)
class ListSubscribed:
    """LSUB (RFC 3501 6.3.9)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Status:
    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class GetQuota:
    root: bytes


@dataclass(frozen=True, slots=True)
class GetQuotaRoot:
    mailbox: str


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """RFC 5464 4.2. `mailbox` is "" for the server; `depth`: how many levels below each entry are told too."""

    mailbox: str
    entries: tuple[str, ...]
    depth: int = 0
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class SetMetadata:
    """RFC 5464 4.3. None removes an entry."""

    mailbox: str
    values: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to be stored, as APPEND and REPLACE carry it."""

    flags: Flags
    received_at: datetime | None
    octets: bytes
    parts: tuple[bytes | MessageUrl | AccessUrl, ...] = ()
    """Of what it is put together instead (RFC 4469)."""


@dataclass(frozen=True, slots=True)
class Append:
    """All of its messages or none (RFC 3502)."""

    mailbox: str
    letters: tuple[Letter, ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """RFC 8508. `number` names one message."""

    number: NumberSet
    mailbox: str
    letter: Letter
    uid: bool


@dataclass(frozen=True, slots=True)
class Close:
    """CLOSE expunges, UNSELECT (RFC 3691) does not."""

    expunge: bool


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE, and UID EXPUNGE (RFC 4315 2.1) with `uids`."""

    uids: NumberSet | None = None


@dataclass(frozen=True, slots=True)
class Partial:
    """Which of the messages found, counted from 1: from the first on, or with negative numbers from the last back."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Results:
    """What RETURN asks for (RFC 4731, 5182, 9394). `partial`: with b"PARTIAL" among the words."""

    words: frozenset[bytes]
    partial: Partial | None = None
    update: bool = False
    """The client wants to hear how it changes (RFC 5267 4.3)."""


@dataclass(frozen=True, slots=True)
class Search:
    """`results`: None for the plain SEARCH response."""

    key: Key
    results: Results | None
    uid: bool


@dataclass(frozen=True, slots=True)
class Sort:
    """SORT (RFC 5256, 5267)."""

    criteria: tuple[Criterion, ...]
    key: Key
    results: Results | None
    uid: bool


@dataclass(frozen=True, slots=True)
class MultiSearch:
    """ESEARCH (RFC 7377): SEARCH in several mailboxes, always by UID."""

    sources: tuple[Source, ...]
    key: Key
    results: Results


@dataclass(frozen=True, slots=True)
class CancelUpdate:
    """CANCELUPDATE (RFC 5267 4.4): of searches with these tags."""

    tags: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Thread:
    """THREAD (RFC 5256): b"ORDEREDSUBJECT" or b"REFERENCES"."""

    algorithm: bytes
    key: Key
    uid: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    numbers: NumberSet
    items: tuple[FetchItem, ...]
    uid: bool
    changed_since: int | None = None
    vanished: bool = False
    partial: Partial | None = None
    """RFC 9394 3.4: of the messages named, before CHANGEDSINCE is looked at."""


@dataclass(frozen=True, slots=True)
class Store:
    numbers: NumberSet
    op: Literal["add", "remove", "replace"]
    flags: Flags
    silent: bool
    uid: bool
    unchanged_since: int | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY, and MOVE (RFC 6851) with `move`."""

    numbers: NumberSet
    mailbox: str
    uid: bool
    move: bool


Command = (
    Capability
    | Noop
    | Check
    | Logout
    | StartTls
    | Compress
    | Unauthenticate
    | Authenticate
    | Login
    | Id
    | Enable
    | Namespace
    | GetJmapAccess
    | Idle
    | Select
    | Create
    | Delete
    | Rename
    | Subscribe
    | ListMailboxes
    | ListSubscribed
    | Status
    | GetQuota
    | GetQuotaRoot
    | GetMetadata
    | SetMetadata
    | Notify
    | SetAcl
    | GetAcl
    | ListRights
    | MyRights
    | GenUrlAuth
    | ResetKey
    | UrlFetch
    | Append
    | Replace
    | Close
    | Expunge
    | Search
    | Sort
    | MultiSearch
    | CancelUpdate
    | Thread
    | Fetch
    | Store
    | Copy
)


@dataclass(frozen=True, slots=True)
class Request:
    """A command with its tag and its verb in upper case ("UID FETCH")."""

    tag: bytes
    verb: str
    command: Command
