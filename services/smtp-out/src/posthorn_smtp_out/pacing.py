"""How fast one destination is approached: its limits, and what its answers have taught. No IO; times are monotonic.

A destination that says 421, or takes no connection, is left alone as a whole, longer each time it does so again. After
that one message goes there, and twice as many at once after each that went well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_smtp_out.protocol.replies import Reply

AHEAD = 4
"""Messages at hand for each connection, so that none waits for the next claim."""
LOOK_AHEAD = 1.0
"""Seconds for which messages are at hand where the rate is limited."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one destination."""

    connections: int
    messages: int = 100
    """On one connection."""
    recipients: int = 100
    """Of one transaction."""
    interval: float = 0.0
    """Seconds at least between the beginnings of two transactions; 0: no limit."""
    idle: float = 10.0
    """Seconds that an unused connection is kept; 0: not at all."""


@dataclass(slots=True, eq=False)
class Pace:
    """One destination, as its owner sees it."""

    limits: Limits
    schedule: Sequence[float]
    """The pauses of single messages: a destination is left alone for half of them."""
    next_start: float
    """When the next transaction may begin."""
    allowed: int = 0
    """Messages that may be under way while it recovers; 0: as many as the limits say."""
    recipients: int = 0
    """Of one transaction, as the remote has shown; 0: as the limits say."""
    failures: int = 0
    """Times in a row that it was left alone."""
    until: float = 0.0
    reason: Reply | None = None
    share: int | None = None
    """Of a limit that is shared out: connections that this process may have; None: all of them are its own."""

    @property
    def connections(self) -> int:
        """How many may be open from here."""
        return self.limits.connections if self.share is None else self.share

    @property
    def interval(self) -> float:
        """Seconds between two turns from here: of a shared rate as large a part as of the connections."""
        return self.limits.interval * (self.limits.connections / max(1, self.connections))

    def backing_off(self, now: float) -> bool:
        """Whether nothing may go there now."""
        return now < self.until

    def room(self, *, relay: bool) -> int:
        """How many messages may be at hand for it. A relay has as many as there are, once it is well."""
        if self.allowed:
            return self.allowed
        room = 1 << 30 if relay else max(1, self.connections) * AHEAD
        return min(room, int(LOOK_AHEAD / self.interval) + 1) if self.limits.interval else room

    def turn(self, now: float) -> float:
        """Take the next turn; returns the seconds until it comes. Turns are evenly spaced, without bursts."""
        at = max(now, self.next_start)
        self.next_start = at + self.interval
        return at - now

    def refused(self, now: float, reply: Reply, jitter: float) -> None:
        """It refuses everybody. `jitter`: a random number from 0 to 1. While it is left alone nothing is added."""
        if self.backing_off(now):
            return
        self.failures += 1
        pause = self.schedule[min(self.failures, len(self.schedule)) - 1] / 2
        self.until = now + pause * (0.75 + jitter / 2)
        self.allowed, self.reason = 1, reply

    def went_well(self) -> None:
        """It took a message."""
        self.failures = 0
        if self.allowed:
            self.allowed = self.allowed * 2 if self.allowed * 2 < self.limits.connections else 0

    def took_only(self, recipients: int) -> None:
        """It has too many recipients beyond so many in one transaction."""
        self.recipients = max(1, min(recipients, self.transaction))

    @property
    def transaction(self) -> int:
        """The most recipients of one transaction."""
        return self.recipients or self.limits.recipients
