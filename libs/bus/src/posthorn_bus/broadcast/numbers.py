"""Numbers of events, so that nothing is missed without being noticed: every sender counts what it sends on each topic.

A number that is left out is a Gap for whoever hears the next one. So a sender that cannot know whether its events
arrived leaves one out and says so; and a second after the last event its number is said once more.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from posthorn_bus.broadcast.frames import Head
from posthorn_model.events import Topic
from posthorn_model.ports import Clock

SENDERS = 50_000
"""Of one topic, of whom the next number is known; the one not heard for longest is forgotten."""


class Sent:
    """What this process sent."""

    def __init__(self, boot: str, clock: Clock) -> None:
        self._boot = boot
        self._clock = clock
        self._numbers: dict[Topic, int] = {}
        self._at: dict[Topic, float] = {}
        self._unconfirmed: dict[Topic, int] = {}
        self._unrepeated: set[Topic] = set()

    def head(self, topic: Topic, count: int) -> Head:
        """The head of a batch of so many events."""
        now, first = self._clock.monotonic(), self._numbers.get(topic, 0) + 1
        since = now - self._at[topic] if topic in self._at else None
        if count:
            self._numbers[topic] = self._unconfirmed[topic] = first + count - 1
            self._at[topic] = now
            self._unrepeated.add(topic)
        return Head(self._boot, first, since)

    def unrepeated(self) -> frozenset[Topic]:
        """The topics whose last number is to be said once more, now."""
        topics = frozenset(self._unrepeated)
        self._unrepeated.clear()
        return topics

    def unconfirmed(self) -> Mapping[Topic, int]:
        """What was sent and may not have arrived: the last number by topic."""
        return dict(self._unconfirmed)

    def confirm(self, arrived: Mapping[Topic, int]) -> None:
        """Everything up to these numbers has arrived."""
        for topic, number in arrived.items():
            if self._unconfirmed.get(topic) == number:
                del self._unconfirmed[topic]

    def lose(self, topics: Iterable[Topic]) -> None:
        """Something on these topics may not have arrived: leave a number out."""
        for topic in topics:
            self._numbers[topic] = self._numbers.get(topic, 0) + 1
            self._at[topic] = self._clock.monotonic()
            self._unconfirmed.pop(topic, None)
            self._unrepeated.add(topic)


class Heard:
    """What this process heard of others, since it listens."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listens: dict[Topic, float] = {}
        self._next: dict[Topic, OrderedDict[str, int]] = {}

    def begin(self, topic: Topic) -> None:
        """From now on every event of `topic` should come; what was before is told by a Gap."""
        self._listens[topic] = self._clock.monotonic()
        self._next[topic] = OrderedDict()

    def misses(self, topic: Topic, head: Head, count: int) -> bool:
        """Take note of a batch, and tell whether something before it has not come."""
        known = self._next.get(topic)
        if known is None:
            return False
        expected = known.get(head.boot)
        known[head.boot] = max(expected or 0, head.first + count)
        known.move_to_end(head.boot)
        if len(known) > SENDERS:
            known.popitem(last=False)
        if expected is not None:
            return head.first > expected
        # Heard for the first time: the batch before was missed unless it was sent before this process listened.
        return head.since is not None and head.since < self._clock.monotonic() - self._listens[topic]
