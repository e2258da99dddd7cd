"""Subscribers inside the process, and what comes in for them.

Bounded: a subscriber that does not keep up loses events and hears a Gap instead. It never blocks who publishes.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from posthorn_bus.envelope import Lost, Unreadable, decode
from posthorn_bus.routing import topic_of
from posthorn_model.clock import SystemClock
from posthorn_model.events import Event, Gap, Received, Topic
from posthorn_model.ids import NodeId
from posthorn_model.ports import Clock

QUEUE_LENGTH = 4096
MOST_NODES = 4096
"""Of so many nodes it is remembered when they were heard last."""


@dataclass(slots=True)
class Tally:
    """What the bus counted since its start."""

    published: int = 0
    received: int = 0
    skipped: int = 0
    dropped: int = 0
    gaps: int = 0
    heard: dict[NodeId, float] = field(default_factory=dict)
    """When each node was heard last (monotonic seconds), the one heard last at the end."""

    def hear(self, node: NodeId, now: float) -> None:
        """An event of `node` came."""
        self.received += 1
        self.heard.pop(node, None)
        self.heard[node] = now
        if len(self.heard) > MOST_NODES:
            del self.heard[next(iter(self.heard))]


class Subscription(AsyncIterator[Received]):
    """The events of some topics, from its making on, until the bus stops."""

    def __init__(self, topics: Iterable[Topic], length: int = QUEUE_LENGTH) -> None:
        self.topics = frozenset(topics)
        self._length = length
        self._waiting: deque[Received] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def hear(self, topic: Topic, event: Received) -> None:
        """Queue an event of `topic`; when there is no room, what waits is exchanged for Gaps."""
        if len(self._waiting) >= self._length:
            lost = {item.topic if isinstance(item, Gap) else topic_of(item) for item in self._waiting} | {topic}
            self._waiting.clear()
            self._waiting.extend(Gap(name, "slow subscriber") for name in sorted(lost))
        else:
            self._waiting.append(event)
        self._wake.set()

    def close(self) -> None:
        """End the iteration, once what waits has been read."""
        self._closed = True
        self._wake.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Received:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()


class Fanout:
    """All subscriptions of one bus."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        # Weak: a subscription nobody iterates any more is gone without having said so.
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._closed = False

    def subscribe(self, topics: Iterable[Topic]) -> Subscription:
        """Start hearing `topics`; on a stopped bus the iteration ends at once."""
        subscription = Subscription(topics)
        if self._closed:
            subscription.close()
        self._subscriptions.add(subscription)
        return subscription

    def topics(self) -> frozenset[Topic]:
        """The topics somebody listens to now."""
        return frozenset(topic for subscription in self._subscriptions for topic in subscription.topics)

    def deliver(self, event: Event) -> None:
        topic = topic_of(event)
        for subscription in self._subscriptions:
            if topic in subscription.topics:
                subscription.hear(topic, event)

    def gap(self, topic: Topic, reason: str) -> None:
        """Tell the subscribers of `topic` that they may have missed something."""
        self._tally.gaps += 1
        for subscription in self._subscriptions:
            if topic in subscription.topics:
                subscription.hear(topic, Gap(topic, reason))

    def close(self) -> None:
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()


class Intake:
    """Reads what other processes sent; this process's own events were heard when they were published.

    `first` is told of each event before any subscriber is; it may not block.
    """

    def __init__(
        self,
        fanout: Fanout,
        boot: str,
        tally: Tally,
        first: Callable[[Event], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._fanout = fanout
        self._first = first
        self._boot = boot
        self._tally = tally
        self._clock = clock or SystemClock()

    def take(self, data: bytes, sender: str | None = None) -> None:
        """Deliver one encoded envelope; what cannot be read, or is not from `sender` (a boot id), is counted."""
        try:
            envelope = decode(data)
        except Unreadable:
            self._tally.skipped += 1
            return
        if sender is not None and envelope.boot != sender:
            self._tally.skipped += 1
        elif envelope.boot != self._boot:
            self._tally.hear(envelope.node, self._clock.monotonic())
            if isinstance(envelope.event, Lost):
                self._fanout.gap(envelope.event.topic, f"node {envelope.node} could not send all its events")
                return
            if self._first is not None:
                self._first(envelope.event)
            self._fanout.deliver(envelope.event)
