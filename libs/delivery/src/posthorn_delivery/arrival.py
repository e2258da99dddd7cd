"""A message that is to be delivered to accounts, as their scripts are told of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from posthorn_mail_format.octets import Octets
from posthorn_model.ids import AccountId


@dataclass(frozen=True, slots=True)
class Scores:
    """What filters found in a message, each from 0, nothing, to 1, certainty; None: nobody looked."""

    spam: float | None = None
    virus: float | None = None


NOT_SCORED = Scores()


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message for some accounts."""

    delivery: UUID
    """Everything that comes of the message has an id made of this one, so that a repeat stores nothing twice."""
    sender: str
    """MAIL FROM without brackets; "" is the null reverse-path."""
    content: Octets
    """As it goes into mailboxes, with its Return-Path."""
    recipients: Mapping[AccountId, str]
    """Account to the recipient that led to it."""
    alone: bool
    """There is one recipient with one account, who can be spoken for by the reply to the content."""
    smtputf8: bool = False
    remote: str = ""
    """The client's IP address, "" for a local socket, and where it is not known any more."""
    junk: bool = False
    """It is taken for junk: nobody answers it."""
    scores: Scores = NOT_SCORED
    """What content filters found."""
