"""Nouns of the mail store, in the words of the field, neither IMAP- nor JMAP-shaped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from posthorn_model.flags import NO_FLAGS, Flags
from posthorn_model.ids import AccountId, BlobKey, MailboxId, MessageId, Modseq, ThreadId, Uid


class Role(StrEnum):
    """Special use of a mailbox (RFC 6154, RFC 8621 2)."""

    INBOX = "inbox"
    DRAFTS = "drafts"
    SENT = "sent"
    JUNK = "junk"
    TRASH = "trash"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox with its counters. `parent` is 0 at the top; `name` is one level, without "/" and never empty."""

    id: MailboxId
    name: str
    parent: MailboxId
    role: Role | None
    subscribed: bool
    sort_order: int
    uidvalidity: int
    uidnext: Uid
    total: int
    unseen: int
    deleted: int
    size: int
    modseq: Modseq
    """Of the latest change to the mailbox or to anything in it (IMAP HIGHESTMODSEQ)."""


class SearchTexts(NamedTuple):
    """The texts of a message that substring search looks at: lower case, bounded, without NUL and lone surrogates."""

    from_: str
    """One line for each address: `name <local@domain>`; so the next three."""
    to: str
    cc: str
    bcc: str
    subject: str
    headers: str
    """One line for each header field kept, `name:value`, unfolded and decoded."""
    body: str


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """All that listings need of a message, computed once at ingest by posthorn_mail_format.summarize."""

    size: int
    message_id: str | None
    """Message-ID without angle brackets."""
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    subject: str
    base_subject: str
    """RFC 5256 2.1, for threads and sorting."""
    sent_at: datetime | None
    preview: str
    """At most 256 characters of readable text (RFC 8970, RFC 8621 4.1.4)."""
    has_attachment: bool
    envelope: bytes
    """IMAP ENVELOPE, ready to send, with its parentheses."""
    body_structure: bytes
    """IMAP BODYSTRUCTURE, ready to send."""
    body: bytes
    """IMAP BODY (without extension data), ready to send."""
    structure: bytes
    """The part tree with byte offsets as compact JSON; read with posthorn_mail_format.Part.load."""
    listing: bytes
    """JSON: the header fields that listings ask for in JMAP form; see posthorn_mail_format.listing."""
    headers: bytes
    """The raw header fields often asked for, in their order, as in the message (each line with CRLF)."""
    search_text: str
    """Text of the body for substring search, bounded, without NUL."""
    texts: SearchTexts | None = None
    """What search looks at, made with the rest; None: it is made when the message is stored."""


class Entry(NamedTuple):
    """One message in one mailbox: what IMAP numbers. A tuple, since a mailbox has a hundred thousand of them."""

    uid: Uid
    message: MessageId
    flags: Flags
    modseq: Modseq


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be stored: a blob (see posthorn_storage Blobs.prepare), its summary and where it goes."""

    account: AccountId
    mailboxes: Sequence[MailboxId]
    """One or more; empty means the inbox (created when missing)."""
    summary: MessageSummary
    blob: "PreparedBlob"
    flags: Flags = NO_FLAGS
    received_at: datetime | None = None
    """None: now, by the database's clock."""
    delivery_id: UUID | None = None
    """Unique per delivery: with the account it makes a repeat a no-op (design law 7)."""
    dedupe: bytes | None = None
    """Digest of sender, Message-ID and content; suppresses a client's repeat after a lost reply (flows.md A)."""
    delivered: bool = False
    """True for a delivery from outside (raises EmailDelivery), False for APPEND and import."""


@dataclass(frozen=True, slots=True)
class PreparedBlob:
    """A blob that is safe to reference: stored durably, or small and carried inline to the same transaction."""

    key: BlobKey
    size: int
    inline: bytes | None
    """The encoded (compressed) bytes when they belong into the row, else None."""
    encoding: int


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a message ended up. `duplicate` is True when an earlier delivery was found instead."""

    account: AccountId
    message: MessageId
    thread: ThreadId
    modseq: Modseq
    uids: tuple[tuple[MailboxId, int, Uid], ...]
    """(mailbox, uidvalidity, uid) for each mailbox it is in."""
    duplicate: bool = False
