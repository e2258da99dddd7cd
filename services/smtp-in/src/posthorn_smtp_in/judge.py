"""Verdicts: functions from facts to a reply with a reason code. They neither answer the client nor touch a store."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from posthorn_model.ids import AccountId
from posthorn_smtp_in.errors import reply_to_fault
from posthorn_smtp_in.filters.opinions import Opinion, Result
from posthorn_smtp_in.protocol.content import Fault
from posthorn_smtp_in.protocol.reading import NEEDS_SMTPUTF8
from posthorn_smtp_in.protocol.replies import Reply, reply


class Kind(Enum):
    """What a listener is for."""

    SMTP = "smtp"
    SUBMISSION = "submission"
    LMTP = "lmtp"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refusal` is None when accepted; `reason` is a short code for logs and metrics."""

    reason: str
    refusal: Reply | None = None
    junk: bool = False
    """Accepted, into the mailbox for junk."""
    discard: bool = False
    """Accepted, and kept nowhere."""


ACCEPTED = Verdict("accepted")


class SenderFacts(NamedTuple):
    """What is known at MAIL."""

    kind: Kind
    account: AccountId | None
    sender: str
    may_send_as: bool
    """The sender is the login's own; asked for on submission only."""
    declared_size: int
    size_limit: int


def judge_sender(facts: SenderFacts) -> Verdict:
    """Whether the transaction may begin."""
    if facts.kind is Kind.SUBMISSION and facts.account is None:
        return Verdict("not-authenticated", reply(530, "5.7.0", "Authentication required"))  # RFC 4954 6
    if facts.declared_size > facts.size_limit:
        return Verdict("size", reply(552, "5.3.4", f"Message too large, the limit is {facts.size_limit} octets"))
    if facts.kind is Kind.SUBMISSION and not facts.may_send_as:
        return Verdict("sender", reply(553, "5.7.1", "Sender address does not belong to the login"))
    return ACCEPTED


class Room(Enum):
    """What a mailbox has room for."""

    FITS = "fits"
    FULL = "full"
    """Not now."""
    NEVER = "never"
    """The message is larger than all that the account may hold."""


FULL = reply(452, "4.2.2", "Mailbox full, try again later")
NEVER_FITS = reply(552, "5.2.3", "Message too large for the mailbox")


def judge_room(used: int, limit: int | None, size: int) -> Room:
    """Whether `size` octets more (at least one) fit; `limit` None is without limit."""
    size = max(size, 1)
    if limit is None or used + size <= limit:
        return Room.FITS
    return Room.NEVER if size > limit else Room.FULL


class RecipientFacts(NamedTuple):
    """What is known at RCPT."""

    local: bool
    """The domain is the cluster's own."""
    known: bool
    """A local address leads to somebody."""
    may_post: bool
    """The sender may write to it; a list may be for members only."""
    room: Room
    """Of the accounts behind it, for the declared size."""
    taken: int
    """Recipients accepted so far in this transaction."""
    limit: int
    needs_smtputf8: bool
    """The address is not ASCII and MAIL did not say SMTPUTF8."""
    may_relay: bool
    """The client may send to other domains."""


def judge_recipient(facts: RecipientFacts) -> Verdict:
    """Whether this recipient is taken."""
    if facts.taken >= facts.limit:
        return Verdict("too-many-recipients", reply(452, "4.5.3", "Too many recipients"))
    if facts.needs_smtputf8:
        return Verdict("smtputf8", NEEDS_SMTPUTF8)
    if not facts.local and not facts.may_relay:
        return Verdict("relay", reply(550, "5.7.1", "Relaying denied"))
    if facts.local and not facts.known:
        return Verdict("unknown-recipient", reply(550, "5.1.1", "No such user here"))
    if not facts.may_post:
        return Verdict("may-not-post", reply(550, "5.7.1", "You may not write to this list"))
    if facts.room is not Room.FITS:
        return Verdict("over-quota", NEVER_FITS if facts.room is Room.NEVER else FULL)
    return ACCEPTED


class ContentFacts(NamedTuple):
    """What is known once the content is complete."""

    fault: Fault | None
    received: int
    max_received: int


def judge_content(facts: ContentFacts) -> Verdict:
    """Whether the message is taken (flows.md A.2)."""
    if facts.fault is not None:
        return Verdict(facts.fault.name.lower().replace("_", "-"), reply_to_fault(facts.fault))
    if facts.received > facts.max_received:
        return Verdict("loop", reply(554, "5.4.6", "Too many hops: the message is in a loop"))
    return ACCEPTED


_UNWANTED = reply(550, "5.7.1", "The message is not wanted here")
_LATER = reply(451, "4.7.1", "The message cannot be taken now, try again later")
_NOT_FILTERED = reply(451, "4.7.1", "A content filter does not answer, try again later")


def judge_opinions(opinions: Sequence[Opinion]) -> Verdict:
    """The gravest opinion of content filters decides; the first of those that are equally grave says why."""
    first: dict[Result, Opinion] = {}
    for opinion in opinions:
        if opinion.result is not Result.FAILED or opinion.closed:
            first.setdefault(opinion.result, opinion)
    if found := first.get(Result.REJECTED):
        return Verdict("filter-rejected", found.reply or _UNWANTED)
    if found := first.get(Result.DEFERRED):
        return Verdict("filter-deferred", found.reply or _LATER)
    if Result.FAILED in first:
        return Verdict("filter-failed", _NOT_FILTERED)
    if Result.DISCARDED in first:
        return Verdict("filter-discarded", discard=True)
    if Result.JUNK in first:
        return Verdict("junk", junk=True)
    return ACCEPTED
