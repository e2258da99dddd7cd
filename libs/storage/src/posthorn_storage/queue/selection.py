"""Which recipients of the queue are meant: a filter as people give it, as the condition of a statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from posthorn_model.ids import AccountId, QueueMessageId
from posthorn_model.queue_items import RecipientState


class Standing(StrEnum):
    """How a recipient stands, as people say it: what waits may be stopped by an operator or by a pause."""

    WAITING = "waiting"
    HELD = "held"
    PAUSED = "paused"
    IN_FLIGHT = "in-flight"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (Standing.WAITING, Standing.HELD, Standing.PAUSED, Standing.IN_FLIGHT)


def standing_of(state: RecipientState, parked: int | None) -> Standing:
    """From a row: its state, and what stops it."""
    if state is RecipientState.WAITING and parked is not None:
        return Standing.PAUSED if parked else Standing.HELD
    return Standing[state.name]


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which messages, or recipients of them; None is no condition. `sender` and `recipient` are parts of an address."""

    before: int = 0
    """Only ids below this one, for the next page; 0 is the newest."""
    done: bool = False
    """Also messages without open recipients."""
    account: AccountId | None = None
    sender: str | None = None
    recipient: str | None = None
    site: str | None = None
    state: RecipientState | Standing | None = None
    older: float | None = None
    """In the queue for so many seconds at least."""
    message: QueueMessageId | None = None
    number: int | None = None
    """Of the recipient."""

    @property
    def of_recipients(self) -> Sequence[object]:
        """What is asked of a recipient: part of the address, site, state, whether and what stops it, number."""
        state: RecipientState | None = None
        stopped: str | None = None
        if isinstance(self.state, Standing):
            waiting = self.state in (Standing.WAITING, Standing.HELD, Standing.PAUSED)
            state = RecipientState.WAITING if waiting else RecipientState[self.state.name]
            stopped = self.state.value if waiting else None
        else:
            state = self.state
        return self.recipient, self.site, state, stopped, self.number

    @property
    def of_messages(self) -> Sequence[object]:
        """What is asked of a message: account, part of the sender, seconds of its age, number."""
        return self.account, self.sender, self.older, self.message


# $1-$4 of_messages
MESSAGES = """
($1::bigint IS NULL OR m.account_id = $1) AND ($2::text IS NULL OR strpos(m.sender, $2) > 0)
AND ($3::float8 IS NULL OR m.created_at <= now() - make_interval(secs => $3)) AND ($4::bigint IS NULL OR m.id = $4)
"""

# $5-$9 of_recipients
RECIPIENTS = """
($5::text IS NULL OR strpos(r.address, $5) > 0) AND ($6::text IS NULL OR r.site = $6)
AND ($7::smallint IS NULL OR r.state = $7) AND ($8::text IS NULL
    OR CASE $8 WHEN 'waiting' THEN r.parked IS NULL WHEN 'held' THEN r.parked = 0 ELSE r.parked > 0 END)
AND ($9::bigint IS NULL OR r.id = $9)
"""

ANY_RECIPIENT = """
($5::text IS NULL AND $6::text IS NULL AND $7::smallint IS NULL AND $8::text IS NULL AND $9::bigint IS NULL)
"""
