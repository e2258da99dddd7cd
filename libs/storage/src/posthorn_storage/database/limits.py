"""Sizes and time limits of the connections to one PostgreSQL, and how the classes of work share them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Work: TypeAlias = Literal["interactive", "delivery", "queue", "maintenance"]
"""What a unit of work is for: somebody who waits; mail that comes in; the outgoing queue and leases; the rest."""
SHARING: tuple[Work, ...] = ("interactive", "delivery", "queue")
"""The classes that lend each other what they do not need. Maintenance, whose statements are long, has its own."""
WORK: tuple[Work, ...] = (*SHARING, "maintenance")


Mode: TypeAlias = Literal["session", "transaction"]
"""Whether a connection is a session of the server; or, through a pooler, one for each transaction."""


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """Sizes and time limits (seconds) of the pool and of what runs in it."""

    pool_size: int = 20
    acquire: float = 5.0
    """How long a unit of work may wait for a connection before it is refused with Overloaded."""
    waiting: int = 2000
    """How many units of work of a class may wait for a connection at once; the next is refused with Overloaded."""
    connect: float = 5.0
    """For all hosts of the DSN together."""
    statement: float = 30.0
    lock: float = 10.0
    idle: float = 30.0
    """How long a transaction may stay open without a statement; the server then ends the session."""
    attempts: int = 5
    """How often `run` tries work that deadlocks or fails to serialize."""
    give_back: float = 10.0
    """How long the end of a cancelled statement is waited for; the connection is closed then."""
    mode: Mode = "session"
    """"transaction": nothing is expected of the server but within a transaction, as PgBouncer has it."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a class may have of the connections that it shares: `least` are kept for it, `most` is where it ends."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """How many connections a process opens to one PostgreSQL, and the most that each class of work may use of them."""

    total: int = 20
    interactive: int | None = None
    delivery: int | None = None
    queue: int | None = None
    maintenance: int | None = None
    """These are its own; None: a tenth of all, and none of its own (it uses what is shared) when there are under 4."""

    def own(self) -> int:
        """Connections of maintenance alone; 0: it shares those of the others."""
        if self.total < 4:
            return 0
        return min(
            self.total - len(SHARING), max(1, self.total // 10 if self.maintenance is None else self.maintenance)
        )

    def shares(self) -> Mapping[str, Share]:
        """Of the rest: each class keeps an eighth, interactive work and deliveries may use all of what is free."""
        shared = self.total - self.own()
        most = {"interactive": shared, "delivery": shared, "queue": max(1, shared // 2)}
        for work in SHARING:
            given: int | None = getattr(self, work)
            if given is not None:
                most[work] = max(1, min(given, shared))
        least = max(1, shared // 8) if shared > len(SHARING) else 0
        return {work: Share(min(least, most[work]), most[work]) for work in SHARING}


@dataclass(frozen=True, slots=True)
class Regions:
    """Where somebody who reads stands, and where the servers do; "" is nowhere in particular."""

    reader: str = ""
    primary: str = ""
    replicas: tuple[str, ...] = ()
    """Of each replica in their order; those beyond the end are nowhere in particular."""

    def near(self, replica: int) -> bool:
        """Whether the replica of that place in their order stands where the reader does."""
        return (self.replicas[replica] if replica < len(self.replicas) else "") == self.reader

    @property
    def primary_is_near(self) -> bool:
        """Whether the primary stands in the reader's region, and that is one."""
        return bool(self.reader) and self.primary == self.reader


@dataclass(frozen=True, slots=True)
class ReplicaLimits:
    """When a replica is read from. Times are in seconds."""

    connections: int | None = None
    """To each replica; None: as many as to the primary."""
    patience: float = 0.05
    """How long a reader waits for a replica that has not yet replayed what it must have."""
    max_lag: float = 10.0
    """A replica further behind is left out."""
    interval: float = 0.25
    """Between two looks at each server."""
    fresh: float = 1.0
    """How old the last look at the primary may be; without one, no replica is read from."""
    answer: float = 1.0
    """How long a look may take."""
