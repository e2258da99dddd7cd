"""Searching: a small tree of conditions, sort keys and a page, compiled to one statement (search_sql).

The words are those of RFC 9051 6.4.4 and RFC 8621 4.4.1. There are two ways to look for a text. IMAP's is exact: a
substring without regard to case, in what was kept of the message, the fields often asked for and a bounded part of the
body's text (Contains, Header). JMAP's goes by words, looked up in the search index (Matches).
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import TypeAlias

from posthorn_model.flags import Flags
from posthorn_model.ids import MailboxId, MessageId, Modseq, ThreadId, Uid


class TextField(StrEnum):
    """Where to look for a text."""

    FROM = "from"
    TO = "to"
    CC = "cc"
    BCC = "bcc"
    SUBJECT = "subject"
    BODY = "body"
    TEXT = "text"
    """Addresses, subject and body (JMAP "text")."""
    EVERYWHERE = "everywhere"
    """The same and the header fields kept (IMAP TEXT)."""


@dataclass(frozen=True, slots=True)
class Everything:
    """Matches all; negated, nothing."""


@dataclass(frozen=True, slots=True)
class And:
    """All parts match; without parts, everything does."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One part matches; without parts, nothing does."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not match."""

    part: "Condition"


@dataclass(frozen=True, slots=True)
class Uids:
    """UIDs in one of the ranges (both ends included); only in a search of one mailbox."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class MessageIds:
    """One of these messages."""

    ids: tuple[MessageId, ...]


@dataclass(frozen=True, slots=True)
class HasFlags:
    """Has all of these flags: the entry in a search of one mailbox, else the message (RFC 8621 4.1.1)."""

    flags: Flags


@dataclass(frozen=True, slots=True)
class ThreadHasFlags:
    """All messages of its thread (`every`), or some, have all of these flags."""

    flags: Flags
    every: bool


@dataclass(frozen=True, slots=True)
class InMailbox:
    """Is in this mailbox."""

    mailbox: MailboxId


@dataclass(frozen=True, slots=True)
class InOtherThan:
    """Is in a mailbox that is none of these."""

    mailboxes: tuple[MailboxId, ...]


@dataclass(frozen=True, slots=True)
class InThread:
    """Belongs to this thread."""

    thread: ThreadId


@dataclass(frozen=True, slots=True)
class Contains:
    """A field contains a text."""

    field: TextField
    text: str


@dataclass(frozen=True, slots=True)
class Matches:
    """A field has the words of a text (RFC 8621 4.4.1), in any form; see posthorn_storage.index.terms.

    Words in quotes are a phrase, one that ends with "*" is a beginning. Attachments belong to the body.
    """

    field: TextField
    text: str


@dataclass(frozen=True, slots=True)
class Header:
    """A header field contains a text; the empty text asks whether the field is there.

    For a field that is not kept (see search_sql.KEPT_FIELDS) the result is inexact.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Received:
    """Received at or after `since`, and before `before`."""

    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """Came into the mailbox (into some, in a search of the account) at or after `since`, and before `before`; where
    that is not known, it was received then (RFC 8514 4.3)."""

    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """The Date field is at or after `since`, and before `before`; a message without one counts as received."""

    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class SentOn:
    """The day that the Date field names, whatever its time and zone (RFC 9051 6.4.4), is `since` or later, and before
    `before`; a message without one counts as received, in UTC."""

    since: date | None = None
    before: date | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """More than `larger` and less than `smaller` octets."""

    larger: int | None = None
    smaller: int | None = None


@dataclass(frozen=True, slots=True)
class HasAttachment:
    """Has an attachment, as JMAP shows it."""


@dataclass(frozen=True, slots=True)
class ModseqFrom:
    """Changed at or after this modseq (RFC 7162 3.1.5)."""

    modseq: Modseq


Condition: TypeAlias = (
    Everything
    | And
    | Or
    | Not
    | Uids
    | MessageIds
    | HasFlags
    | ThreadHasFlags
    | InMailbox
    | InOtherThan
    | InThread
    | Contains
    | Matches
    | Header
    | Received
    | Saved
    | Sent
    | SentOn
    | Size
    | HasAttachment
    | ModseqFrom
)


class SortKey(StrEnum):
    """What to sort by (RFC 5256, RFC 5957, RFC 8621 4.4.2)."""

    RECEIVED = "received"
    SENT = "sent"
    SIZE = "size"
    FROM = "from"
    """Local part of the first address."""
    TO = "to"
    CC = "cc"
    DISPLAY_FROM = "display-from"
    """Name of the first address, or the address."""
    DISPLAY_TO = "display-to"
    SUBJECT = "subject"
    """Base subject."""
    FLAGS = "flags"
    """Whether the message has the flags of the Sort; False sorts first."""
    THREAD_EVERY = "thread-every"
    THREAD_SOME = "thread-some"
    """Whether all, or some, messages of its thread have the flags."""


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key."""

    key: SortKey
    descending: bool = False
    flags: Flags | None = None


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What to look for. With a `mailbox`, entries of it are found (and their UIDs); else messages of the account."""

    where: Condition
    mailbox: MailboxId | None = None
    sort: tuple[Sort, ...] = ()
    """Ties, and everything without sort keys, by UID or id."""
    offset: int = 0
    limit: int | None = None
    collapse_threads: bool = False
    """Only the first message of each thread (RFC 8621 4.4.3)."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found, all of one instant."""

    ids: list[MessageId]
    uids: list[Uid]
    """Of the same messages, in a search of one mailbox; else empty."""
    total: int
    """Without offset and limit."""
    highest: Modseq
    """Highest modseq of the entries found in a mailbox (RFC 7162 3.1.5), 0 when none."""
    state: Modseq
    """The account's modseq."""
    inexact: bool
    """Some found may not match: header fields were asked for that only the blob has. All candidates are given then:
    offset, limit and collapse_threads were not applied, for the caller to do after its own look."""
