"""The port of the search index, and the values that go through it.

PostgreSQL implements it (posthorn_storage.index.postgres); what else follows passes the same contract suite in the test
kit. Tasks are not behind it: wherever the words are, what is still to be indexed stands beside the messages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from posthorn_model.ids import AccountId, Epoch, MessageId
from posthorn_storage.index.terms import Term
from posthorn_storage.mail.search import TextField


@dataclass(frozen=True, slots=True)
class Claim:
    """One task as its claimant knows it: once the row has another epoch or attempt, the claim is void."""

    account: AccountId
    message: MessageId
    epoch: Epoch
    attempt: int
    """From 1."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What is looked through of one message. Bounded by who makes it."""

    from_: str
    to: str
    cc: str
    bcc: str
    subject: str
    body: str
    attachments: str = ""
    """Their names and what could be read of their contents."""
    languages: tuple[str, ...] = ()
    """Tags of the Content-Language field (RFC 3282), most important first."""


@dataclass(frozen=True, slots=True)
class Document:
    """One message to be written to the index."""

    claim: Claim
    texts: Texts
    problem: str | None = None
    """Why something of the message could not be read; what could be is in `texts`."""
    grams: bytes | None = None
    """The signature of its stored texts (posthorn_storage.index.grams)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Terms that must all be found in one field."""

    field: TextField
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the index is behind."""

    waiting: int
    """Tasks that are still to be done."""
    failed: int
    """Tasks that were given up: these messages are found by their stored texts alone."""
    seconds: float
    """Age of the oldest task that is still to be done; 0 without any."""


class SearchIndex(Protocol):
    """Which messages of an account hold which words."""

    async def write(self, documents: Sequence[Document]) -> int:
        """Put messages in, each replacing what the index had of it, and finish their tasks; returns how many.

        A document whose claim is void changes nothing. Raises Unavailable, Overloaded.
        """
        ...

    async def remove(self, claims: Sequence[Claim]) -> None:
        """Take messages out that are gone, and finish their tasks; void claims change nothing.

        Raises Unavailable, Overloaded.
        """
        ...

    async def matching(self, account: AccountId, wanted: Sequence[Wanted]) -> list[list[MessageId]]:
        """For each of `wanted` the messages that match, in no order.

        Messages that wait to be indexed are looked through as well, without their attachments. Raises Unavailable,
        Overloaded.
        """
        ...
