"""Ports: what a service is handed. Each has one contract suite in the test kit that runs over every implementation."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from posthorn_model.cluster import Process, Standing
from posthorn_model.events import Event, Received, Topic
from posthorn_model.ids import BlobKey, Epoch, NodeId


class Clock(Protocol):
    """Monotonic seconds for deadlines; wall seconds since 1970 (UTC) for what people read."""

    def monotonic(self) -> float: ...

    def time(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease this process holds: writes under it carry `epoch`; nothing is done after `deadline` (monotonic s)."""

    key: str
    epoch: Epoch
    deadline: float


class LeaseStore(Protocol):
    """Compare-and-set rows in the database: they alone decide who owns a key (design law 5)."""

    async def acquire(self, keys: Collection[str], owner: str, ttl: float) -> Mapping[str, Epoch]:
        """Take the keys that are free, expired by the database's clock, or already `owner`'s.

        Returns the epoch of each key that was taken: one more than before, also when it was the owner's already.
        `ttl` is in seconds. Raises Unavailable.
        """
        ...

    async def renew(self, held: Mapping[str, Epoch], owner: str, ttl: float) -> Collection[str]:
        """Extend all `held` leases in one statement; returns the keys still the owner's. Raises Unavailable."""
        ...

    async def release(self, held: Mapping[str, Epoch], owner: str) -> None:
        """Give leases back at once (`until = now()`); those already lost are left alone. Raises Unavailable."""
        ...

    async def holders(self, prefix: str) -> Mapping[str, tuple[str, Epoch, float]]:
        """Of every key that starts with `prefix`: owner, epoch, and the seconds it is live yet by the database's clock.

        0.0: its time is over.
        """
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """A live process of the cluster as the node table has it."""

    node: NodeId
    service: str
    boot: str
    """Unique for one life of one process."""
    region: str
    address: Mapping[str, Any]
    """Where it listens: {"health": "host:port", "bus": "tcp://host:port", "bus-key": "..."}; fields may be absent."""


class PeerDirectory(Protocol):
    """Who lives in the cluster, from the database's node table; the peer-to-peer bus finds its peers there."""

    async def live_peers(self) -> Sequence[Peer]:
        """All processes whose heartbeat is recent by the database's clock. Raises Unavailable."""
        ...

    async def announce(self, address: Mapping[str, Any]) -> None:
        """Merge `address` into this process's own row. Raises Unavailable."""
        ...


class NodeStore(Protocol):
    """Node ids and the processes that live on them, by the database's clock (design, section 5)."""

    async def claim_node(self, node: NodeId | None, token: str, ttl: float) -> NodeId:
        """Take a node id for `ttl` seconds; None takes the one `token` holds already, else the lowest free one.

        All processes of one node share a token. Raises DuplicateNode when another token holds it live, Unavailable.
        """
        ...

    async def beat(self, process: Process, token: str, ttl: float) -> Standing:
        """Write this process's row and extend its node id's lease, in one statement; returns what is wished of it.

        `started_at`, `seen_at`, `live` and `wish` of `process` are not read: the database fills them; `address` is
        merged into what `announce` wrote. Nothing is written when the token no longer holds the id. Raises Unavailable.
        """
        ...

    async def leave(self, boot: str) -> None:
        """Mark the process as left; with the last process of its node the node id is free at once."""
        ...

    async def live(self, failure_after: float) -> Sequence[Process]:
        """Processes that have not left and were seen within `failure_after` seconds, by node and service."""
        ...


@dataclass(frozen=True, slots=True)
class BusHealth:
    """State of the bus for /health/ready, metrics and GET /api/cluster."""

    kind: str
    connected: bool
    detail: str
    published: int
    received: int
    skipped: int
    """Events of unknown type or version that were skipped."""
    gaps: int
    dropped: int = 0
    """Own events that were not sent; who would have heard them hears a Gap once events can be sent again."""
    lag_events: int = 0
    """Events that the coordinator holds and this process has not read yet."""
    lag_seconds: float = 0.0
    """For how long this process has not been up to date; without a coordinator, the age of the oldest heartbeat."""
    heard: Mapping[NodeId, float] = field(default_factory=dict)
    """How many seconds ago the last event of each node came, of the nodes heard of late."""


class Bus(Protocol):
    """Coordination. Everything it carries is a hint (design law 1); publishing never fails the caller."""

    async def start(self) -> None:
        """Connect in the background: returns at once, also when the coordinator is down; then retries for ever."""
        ...

    async def stop(self) -> None:
        """Flush what is queued (bounded to 2 s), leave groups, close."""
        ...

    def publish(self, event: Event) -> None:
        """Queue an event for sending; never blocks or raises. With a full buffer the oldest event is dropped."""
        ...

    def subscribe(self, *topics: Topic) -> AsyncIterator[Received]:
        """Hear every event of these topics from now on, those of other processes and this one's own.

        The iterator never ends until the bus stops. A slow subscriber loses events and hears a Gap instead.
        """
        ...

    def propose(self, family: Topic, keys: Sequence[str]) -> AsyncIterator[frozenset[str]]:
        """Take part in sharing out `keys` of a family (QUEUE or ROLES) among all processes that call this.

        Yields the whole set proposed for this process each time it changes, at first possibly empty. It is only a
        proposal: ownership is the lease. Ending the iterator leaves the group. Without a coordinator connection it
        yields every key after a grace time, so that leases alone decide.
        """
        ...

    def health(self) -> BusHealth: ...


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that a store holds; `stored_at` is in seconds since 1970, by the store's clock."""

    key: BlobKey
    stored_at: float


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of what a store holds."""

    objects: Sequence[StoredObject]
    foreign: int
    """Names on this page that are no keys: not ours, and left alone."""
    after: str
    """Where the next page begins; empty: this was the last one."""


class ObjectStore(Protocol):
    """Where blobs too large for the database live. Keys are chosen by the caller; values are immutable."""

    async def put(self, key: BlobKey, data: bytes | memoryview) -> None:
        """Store durably (fsynced, or confirmed by the server) before returning: whole, or not at all.

        Raises Unavailable.
        """
        ...

    async def get(self, key: BlobKey) -> bytes:
        """Raises BlobNotFound, Archived, Unavailable."""
        ...

    async def get_range(self, key: BlobKey, start: int, length: int) -> bytes:
        """Bytes `start` to `start + length` (fewer at the end). Raises BlobNotFound, Archived, Unavailable."""
        ...

    async def list(self, after: str, limit: int) -> Listing:
        """A page of about `limit` objects, in an order of the store's own; the first one is after "".

        What comes and goes meanwhile may be missed; what stays is told once. Raises Unavailable.
        """
        ...

    async def delete(self, key: BlobKey) -> None:
        """Remove; a missing key is no error. Raises Unavailable."""
        ...

    async def probe(self) -> None:
        """Cheap proof that the store answers. Raises Unavailable."""
        ...

    async def close(self) -> None: ...


Probe = Callable[[], Awaitable[str]]
"""A readiness probe: returns a short text for people, raises PosthornError when the part is not usable."""
