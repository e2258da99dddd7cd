"""What a run is told of the world, and what it says when it is over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from posthorn_sieve.actions import Action
from posthorn_sieve.errors import SieveError
from posthorn_sieve.limits import DEFAULT, Limits
from posthorn_sieve.program import Script


@dataclass(frozen=True, slots=True)
class Score:
    """A verdict of a content filter (RFC 5235): whether it looked, and what it found, 0 to 1."""

    tested: bool = False
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Situation:
    """One message on its way into one account."""

    content: bytes
    sender: str
    """MAIL FROM without brackets; "" is the null reverse-path."""
    recipient: str
    """RCPT TO that led to this account."""
    now: datetime
    """With the zone that dates are shown in."""
    login: str = ""
    """Who authenticated as the sender, for `envelope "auth"`; "" for nobody."""
    addresses: frozenset[str] = frozenset()
    """All addresses of the owner, in lower case."""
    separators: str = "+"
    """Characters that part user and detail of a local part (RFC 5233); none in front does."""
    mailboxes: frozenset[str] = frozenset()
    """Names of the owner's mailboxes; the inbox is "INBOX"."""
    special_uses: Mapping[str, str] = field(default_factory=dict)
    """Attribute in lower case, with its backslash, to the name of the mailbox that has it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """RFC 5183 4: item to value."""
    scripts: Mapping[tuple[str, str], Script] = field(default_factory=dict)
    """(location, name) to the scripts that may be included."""
    spam: Score = Score()
    virus: Score = Score()
    seen: Mapping[bytes, bool] = field(default_factory=dict)
    """Answers to questions: whether a key is in the memory of duplicates."""
    limits: Limits = DEFAULT
    monotonic: Callable[[], float] = lambda: 0.0
    """Seconds of a clock that only goes forward: what the time limit is measured by."""


@dataclass(frozen=True, slots=True)
class Question:
    """The run cannot go on without knowing whether `key` was seen: answer in `Situation.seen` and run again."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run decided. Without any action the message is discarded."""

    actions: tuple[Action, ...]
    fault: SieveError | None = None
    """Why the script was stopped; the only action is then to keep the message, and its owner is to be told."""
    remember: tuple[tuple[bytes, int], ...] = ()
    """Keys for the memory of duplicates with their seconds, once the delivery is done (RFC 7352 3.1)."""
    steps: int = 0
