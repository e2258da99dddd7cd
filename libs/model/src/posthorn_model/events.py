"""Events on the bus. They carry ids and modseqs, never content (design law 1): a receiver re-reads the database."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from posthorn_model.ids import AccountId, Modseq, NodeId


class Topic(StrEnum):
    """The broadcast topics and the two ownership families (`queue`, `roles`)."""

    CHANGES = "changes"
    CONTROL = "control"
    QUEUE = "queue"
    ROLES = "roles"
    NODES = "nodes"


class ChangeKind(StrEnum):
    """What kind of object changed; the names are JMAP's type names."""

    MAILBOX = "Mailbox"
    EMAIL = "Email"
    EMAIL_DELIVERY = "EmailDelivery"
    THREAD = "Thread"
    IDENTITY = "Identity"
    EMAIL_SUBMISSION = "EmailSubmission"
    CALENDAR = "Calendar"
    CALENDAR_EVENT = "CalendarEvent"
    ADDRESS_BOOK = "AddressBook"
    CONTACT_CARD = "ContactCard"


PUSHED: Final = (
    ChangeKind.MAILBOX,
    ChangeKind.EMAIL,
    ChangeKind.EMAIL_DELIVERY,
    ChangeKind.THREAD,
    ChangeKind.IDENTITY,
    ChangeKind.EMAIL_SUBMISSION,
)
"""Kinds whose changes JMAP clients are told of: those that JMAP serves here."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Account `account` reached `modseq`; objects of `kinds` changed. Wakes IDLE, EventSource and the like."""

    account: AccountId
    modseq: Modseq
    kinds: frozenset[ChangeKind]
    position: str = ""
    """Where the change is in the database's log, in the storage's own words; "" when that was not said."""


@dataclass(frozen=True, slots=True)
class Control:
    """A cluster-wide notice: `name` such as "invalidate-directory", with small JSON-able `detail`."""

    name: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueDue:
    """Something became due in queue shard `shard`."""

    shard: int


@dataclass(frozen=True, slots=True)
class LeaseNotice:
    """The lease `key` was taken (`held`) or released by `node` under `epoch`."""

    key: str
    node: NodeId
    epoch: int
    held: bool


@dataclass(frozen=True, slots=True)
class LeaseAsked:
    """`node` is proposed `key`, which another process holds: who holds it without being proposed it hands it over."""

    key: str
    node: NodeId


@dataclass(frozen=True, slots=True)
class NodeNotice:
    """A process of `node` joined, is alive ("heartbeat"), drains or left; `load` is 0.0 (idle) to 1.0 (full)."""

    node: NodeId
    service: str
    state: str
    load: float = 0.0


@dataclass(frozen=True, slots=True)
class EchoAsked:
    """A question that every live process answers at once; `probe` tells the questions apart."""

    probe: str


@dataclass(frozen=True, slots=True)
class EchoAnswered:
    """The answer of one process to the question `probe`; `boot` is unique for one life of one process."""

    probe: str
    node: NodeId
    service: str
    boot: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Events on `topic` may have been missed: drop caches and re-read what is watched (flows.md B.4)."""

    topic: Topic
    reason: str


Event = Changed | Control | QueueDue | LeaseNotice | LeaseAsked | NodeNotice | EchoAsked | EchoAnswered
"""What may be published."""
Received = Event | Gap
"""What a subscriber may hear."""
