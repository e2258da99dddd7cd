"""Events on their way out: gathered for about 2 ms, changes of one account made one, bounded.

When there is no room the oldest event is dropped and counted: events are hints (design law 1), memory is not. But not
in silence: what was dropped here or could not be sent is followed by a notice, from which the others make a Gap.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from posthorn_bus.envelope import Envelope, Lost, Unreadable, encode
from posthorn_bus.fanout import Tally
from posthorn_bus.routing import topic_of
from posthorn_bus.settings import BusIdentity
from posthorn_model.events import Changed, Event, Topic
from posthorn_model.ids import Modseq

CAPACITY = 10_000
WINDOW = 0.002
PAUSE = 1.0
"""Seconds until a notice of lost events that could not be sent either is tried again."""


def merge(older: Changed, newer: Changed) -> Changed:
    """One event that says what two of the same account said: the higher modseq, all kinds, the later position."""
    modseq = Modseq(max(older.modseq, newer.modseq))
    return Changed(older.account, modseq, older.kinds | newer.kinds, newer.position)


class Outbox:
    """Holds events from `publish` until the sender takes them."""

    def __init__(
        self, identity: BusIdentity, tally: Tally, *, capacity: int = CAPACITY, window: float = WINDOW
    ) -> None:
        self._identity = identity
        self._tally = tally
        self._capacity = capacity
        self._window = window
        self._waiting: OrderedDict[tuple[str, int], Event] = OrderedDict()
        self._filled = asyncio.Event()
        self._serial = 0
        self._lost: set[Topic] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: Event) -> None:
        """Queue an event; never blocks, never raises."""
        self._tally.published += 1
        if isinstance(event, Changed):
            slot = ("account", int(event.account))
            waiting = self._waiting.get(slot)
            if isinstance(waiting, Changed):
                event = merge(waiting, event)
        else:
            self._serial += 1
            slot = ("other", self._serial)
        self._waiting[slot] = event
        if len(self._waiting) > self._capacity:
            self.lose(self._waiting.popitem(last=False)[1])
        self._filled.set()

    def lose(self, event: Event | Lost) -> None:
        """An event that was taken out was not sent, as far as is known; the others are told of it as soon as can be."""
        if isinstance(event, Lost):
            asyncio.get_running_loop().call_later(PAUSE, self._tell_of, event.topic)
        else:
            self._tally.dropped += 1
            self._tell_of(topic_of(event))

    def _tell_of(self, topic: Topic) -> None:
        self._lost.add(topic)
        self._filled.set()

    async def take(self) -> Sequence[tuple[Event | Lost, bytes]]:
        """Wait for events, gather what comes within the window, and return them encoded, oldest first."""
        await self._filled.wait()
        await asyncio.sleep(self._window)
        return self.drain()

    def drain(self) -> Sequence[tuple[Event | Lost, bytes]]:
        """What waits now, encoded; an event that does not fit into an envelope is dropped and counted."""
        events: list[Event | Lost] = [Lost(topic) for topic in sorted(self._lost)]
        events += self._waiting.values()
        self._lost.clear()
        self._waiting.clear()
        self._filled.clear()
        batch = []
        for event in events:
            self._serial += 1
            try:
                batch.append((event, encode(Envelope(event, self._serial, self._identity.node, self._identity.boot))))
            except Unreadable:
                # Told to nobody: the one who published it is wrong, and no re-reading makes up for it.
                self._tally.dropped += 1
        return batch
