"""Nouns of the outgoing queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from uuid import UUID

from posthorn_model.ids import AccountId, BlobKey, Epoch, QueueMessageId
from posthorn_model.mail import PreparedBlob


def site_of(address: str) -> str | None:
    """The destination of an address: its domain in A-labels (RFC 5890), an address literal as it is.

    None when the domain has no such form.
    """
    return _site(address.rpartition("@")[2])


@lru_cache(maxsize=1024)
def _site(domain: str) -> str | None:
    """Made once for the domains of the hour."""
    if domain.startswith("["):
        return domain
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None


class RecipientState(IntEnum):
    """State of one recipient row."""

    WAITING = 0
    IN_FLIGHT = 1
    DELIVERED = 2
    FAILED = 3
    CANCELLED = 4


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """A recipient to enqueue. `site` is the destination: a domain in lower case (A-labels), or "local"."""

    address: str
    site: str
    notify: str | None = None
    """RFC 3461 NOTIFY as given ("NEVER" or a list of SUCCESS, FAILURE, DELAY)."""
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a sender asks of the way a message takes, beyond that it arrives."""

    deliver_by: datetime | None = None
    """RFC 2852: what has not arrived then comes back, or its sender hears of it."""
    by_return: bool = True
    """Of the two: it comes back (by-mode R); False: the sender hears of it (N)."""
    by_trace: bool = False
    """The sender hears of each relaying too (T)."""
    priority: int = 0
    """RFC 6710: -9 to 9; of what is due the highest goes first."""
    require_tls: bool = False
    """RFC 8689: rather back than over a connection that is not encrypted and verified."""


NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class NewQueueMessage:
    """A message to send: envelope, content and recipients. The content's bytes are the blob's."""

    sender: str
    """MAIL FROM without brackets; "" is the null reverse-path."""
    blob: PreparedBlob
    recipients: Sequence[NewRecipient]
    account: AccountId | None = None
    smtputf8: bool = False
    eight_bit: bool = False
    ret: str | None = None
    envid: str | None = None
    delivery_id: UUID | None = None
    """With it, enqueueing the same thing twice is a no-op."""
    hold_until: datetime | None = None
    """Not before (RFC 4865); None: at once."""
    terms: Terms = NO_TERMS
    signing_domain: str | None = None
    """Whose DKIM keys sign it (RFC 6376 d=), in A-labels: of who sends it, and never of who is only named in it."""


@dataclass(frozen=True, slots=True)
class DueRecipient:
    """One claimed recipient with all that an attempt needs."""

    id: int
    message: QueueMessageId
    shard: int
    site: str
    address: str
    sender: str
    blob: BlobKey
    size: int
    attempt: int
    """Attempts already made."""
    created_at: datetime
    notify: str | None
    orcpt: str | None
    smtputf8: bool
    eight_bit: bool
    ret: str | None
    envid: str | None
    in_doubt: bool
    """A dead owner had it in flight: the remote may have it already (flows.md C)."""
    signing_domain: str | None = None
    """Whose DKIM keys sign it; None: nobody's."""
    terms: Terms = NO_TERMS
    noticed: bool = False
    """The sender has heard that the time of `terms.deliver_by` is over."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt for one recipient, written under the shard's epoch."""

    recipient: int
    epoch: Epoch
    state: RecipientState
    reply: str
    """The remote's reply or our reason, on one line."""
    status: str
    """Enhanced status code, "2.0.0"."""
    remote: str
    """Who answered: "mx.example.net [192.0.2.1]:25", or ""."""
    due: datetime | None = None
    """Next attempt, when WAITING."""
    tls: str | None = None
    noticed: bool = False
    """The sender hears now that the time of `terms.deliver_by` is over."""
    reply_class: str = ""
    """What kind of refusal it is, in smtp-out's words: "mailbox-full"."""
    notices: int = 0
    """So many notices of delay the sender has had now; 0: as before."""
