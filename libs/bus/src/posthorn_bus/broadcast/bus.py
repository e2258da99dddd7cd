"""BroadcastBus: the Bus port over a server that passes messages on and keeps none.

One connection at a time: it is opened anew when it is lost, whatever it was lost by, and every topic hears a Gap then.
The pulse is a message to oneself, once a beat: it shows that the server hears, and that it is heard.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from functools import partial

from posthorn_bus.broadcast.frames import MAX_BATCH, MAX_EVENTS, Malformed, batch, read_batch
from posthorn_bus.broadcast.group import Group
from posthorn_bus.broadcast.numbers import Heard, Sent
from posthorn_bus.broadcast.wire import Cut, Message, Opening, Wire
from posthorn_bus.envelope import Lost
from posthorn_bus.fanout import Fanout, Intake, Subscription, Tally
from posthorn_bus.health import health_of
from posthorn_bus.outbox import Outbox
from posthorn_bus.retry import cancelled, first_of, for_ever
from posthorn_bus.routing import topic_of
from posthorn_bus.settings import BroadcastTimes, BusIdentity
from posthorn_model.events import Event, Topic
from posthorn_model.ports import BusHealth, Clock

FLUSH = 2.0
GAP_SPACING = 1.0
"""Seconds between two Gaps of a topic: when a server restarts, every sender may have left out a number."""


class BroadcastBus:
    """`kind` is the coordinator's name, `opening` opens a connection to it."""

    def __init__(
        self,
        kind: str,
        opening: Opening,
        prefix: str,
        times: BroadcastTimes,
        identity: BusIdentity,
        clock: Clock,
        first: Callable[[Event], None] | None = None,
    ) -> None:
        self._kind = kind
        self._opening = opening
        self._prefix = prefix
        self._times = times
        self._identity = identity
        self._clock = clock
        self._tally = Tally()
        self._fanout = Fanout(self._tally)
        self._intake = Intake(self._fanout, identity.boot, self._tally, first, clock)
        self._outbox = Outbox(identity, self._tally)
        self._sent = Sent(identity.boot, clock)
        self._heard = Heard(clock)
        self._groups: dict[Topic, Group] = {}
        self._pulse = f"{prefix}.pulse.{secrets.token_hex(16)}"
        self._handlers: dict[str, Callable[[bytes], None]] = {self._pulse: self._hear_pulse}
        self._wire: Wire | None = None
        self._beating = False
        self._detail = "not connected yet"
        self._reason = "connected"
        self._turned = asyncio.Event()
        """Set, and made anew, whenever a connection comes or goes."""
        self._echo = asyncio.Event()
        self._echoed = clock.monotonic()
        """When the pulse was heard last."""
        self._wanted: set[Topic] = set()
        self._tuned: set[Topic] = set()
        self._tune_soon = asyncio.Event()
        self._gaps: dict[Topic, float] = {}
        self._late: dict[Topic, asyncio.TimerHandle] = {}
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._want(self._fanout.topics())
        name = f"bus: {self._kind}"
        self._running = asyncio.create_task(for_ever(self._live, name, (Cut,)), name=name)

    async def stop(self) -> None:
        if self._running is not None:
            wire = self._wire
            if wire is not None:
                # Before the connection goes: whoever leaves is missed by nobody.
                await first_of(self._last_words(wire), asyncio.sleep(FLUSH))
            await cancelled(self._running)
            self._running = None
        for handle in self._late.values():
            handle.cancel()
        for group in self._groups.values():
            group.proposal.close()
        self._fanout.close()

    def publish(self, event: Event) -> None:
        self._fanout.deliver(event)
        self._outbox.add(event)

    def subscribe(self, *topics: Topic) -> Subscription:
        subscription = self._fanout.subscribe(topics)
        self._want(topics)
        return subscription

    async def propose(self, family: Topic, keys: Sequence[str]) -> AsyncGenerator[frozenset[str], None]:
        group = self._groups[family] = Group(family, keys, self._prefix, self._identity, self._times, self._clock)
        self._handlers |= {group.views: group.hear_view, group.beats: group.hear_beat}
        name = f"bus: group {family}"
        belonging = asyncio.create_task(for_ever(partial(self._belong, group), name, (Cut,)), name=name)
        try:
            async for proposed in group.proposal:
                yield proposed
        finally:
            if self._groups.get(family) is group:
                del self._groups[family]
            with contextlib.suppress(Cut):
                await first_of(group.leave(), asyncio.sleep(FLUSH))
            await cancelled(belonging)

    def health(self) -> BusHealth:
        silent = [topic.value for topic in sorted(self._wanted - self._tuned)]
        connected = self._wire is not None and self._beating and not silent
        detail = self._detail if not (self._wire and silent) else f"{self._detail}; not hearing {', '.join(silent)}"
        now = self._clock.monotonic()
        return health_of(self._kind, detail, self._tally, now, connected=connected, lag_seconds=now - self._echoed)

    def _channel(self, topic: Topic) -> str:
        return f"{self._prefix}.{topic.value}"

    async def _live(self) -> None:
        """Open a connection and use it until it is lost. Raises Cut."""
        try:
            wire = await self._opening(self._hear)
        except Cut as cut:
            self._detail = str(cut)
            raise
        try:
            await wire.listen(self._pulse)
            await self._feel(wire)
            await self._make_up(wire)
            self._wire, self._detail = wire, f"connected to {wire.place}"
            self._turn()
            await first_of(
                wire.serve(), self._tune_for_ever(wire), self._send_for_ever(wire), self._feel_for_ever(wire)
            )
        except Cut as cut:
            # Before the closing, which may take its time.
            self._detail = str(cut)
            raise
        finally:
            self._wire, self._beating, self._reason = None, False, "reconnected"
            self._tuned.clear()
            self._turn()
            await wire.close()

    async def _belong(self, group: Group) -> None:
        """Be a member while there is a connection. Raises Cut."""
        group.arm()
        while (wire := self._wire) is None:
            await self._turned.wait()
        await first_of(group.take_part(wire), self._turned.wait())

    def _turn(self) -> None:
        self._turned.set()
        self._turned = asyncio.Event()

    # What is heard

    def _want(self, topics: Iterable[Topic]) -> None:
        for topic in topics:
            self._wanted.add(topic)
            self._handlers[self._channel(topic)] = partial(self._hear_batch, topic)
        self._tune_soon.set()

    async def _tune_for_ever(self, wire: Wire) -> None:
        while True:
            self._tune_soon.clear()
            new = sorted(self._wanted - self._tuned)
            if new:
                await wire.listen(*map(self._channel, new))
            for topic in new:
                # What came before is read anew because of the Gap, what comes later is heard.
                self._heard.begin(topic)
                self._gap(topic, self._reason)
                self._tuned.add(topic)
            await self._tune_soon.wait()

    def _hear(self, channel: str, data: bytes) -> None:
        handler = self._handlers.get(channel)
        if handler is None:
            return
        try:
            handler(data)
        except Malformed:
            self._tally.skipped += 1

    def _hear_batch(self, topic: Topic, data: bytes) -> None:
        head, events = read_batch(data)
        if head.boot == self._identity.boot:
            return
        if self._heard.misses(topic, head, len(events)):
            self._gap_spared(topic, "missed events")
        for event in events:
            self._intake.take(event, head.boot)

    def _hear_pulse(self, _data: bytes) -> None:
        self._echo.set()

    def _gap(self, topic: Topic, reason: str) -> None:
        self._gaps[topic] = self._clock.monotonic()
        self._fanout.gap(topic, reason)

    def _gap_spared(self, topic: Topic, reason: str) -> None:
        """A Gap now, or one for all that are missed until the last one is long enough ago."""
        left = self._gaps.get(topic, 0.0) + GAP_SPACING - self._clock.monotonic()
        if topic in self._late:
            return
        if left <= 0:
            self._gap(topic, reason)
            return

        def told() -> None:
            del self._late[topic]
            self._gap(topic, reason)

        self._late[topic] = asyncio.get_running_loop().call_later(left, told)

    # What is sent

    async def _send_for_ever(self, wire: Wire) -> None:
        while True:
            await wire.send(self._framed(wire, await self._outbox.take()))

    def _framed(self, wire: Wire, waiting: Sequence[tuple[Event | Lost, bytes]]) -> list[Message]:
        """The batches of what waits, numbered."""
        by_topic: dict[Topic, list[bytes]] = {}
        for event, data in waiting:
            by_topic.setdefault(topic_of(event), []).append(data)
        return [
            (self._channel(topic), batch(self._sent.head(topic, len(part)), part))
            for topic, events in by_topic.items()
            for part in _parts(events, min(MAX_BATCH, wire.largest - 1024))
        ]

    async def _feel_for_ever(self, wire: Wire) -> None:
        while True:
            await asyncio.sleep(self._times.beat)
            await self._feel(wire)
            await self._repeat(wire)

    async def _feel(self, wire: Wire) -> None:
        """Hear oneself. Raises Cut when that takes too long."""
        before = self._sent.unconfirmed()
        self._echo.clear()
        try:
            async with asyncio.timeout(self._times.silence):
                await wire.send([(self._pulse, b"")])
                await self._echo.wait()
        except TimeoutError:
            raise Cut(f"{wire.place} is silent") from None
        self._sent.confirm(before)
        self._echoed = self._clock.monotonic()
        self._beating = True

    async def _make_up(self, wire: Wire) -> None:
        """Let others notice what may have been lost with the connection before."""
        self._sent.lose(self._sent.unconfirmed())
        await self._repeat(wire)

    async def _repeat(self, wire: Wire) -> None:
        topics = self._sent.unrepeated()
        await wire.send([(self._channel(topic), batch(self._sent.head(topic, 0), ())) for topic in topics])

    async def _last_words(self, wire: Wire) -> None:
        with contextlib.suppress(Cut):
            await wire.send(self._framed(wire, self._outbox.drain()))
            for group in self._groups.values():
                await group.leave()


def _parts(events: Sequence[bytes], largest: int) -> list[list[bytes]]:
    """Cut so that each part fits into a batch."""
    parts: list[list[bytes]] = []
    size = 0
    for data in events:
        if not parts or len(parts[-1]) >= MAX_EVENTS or size + len(data) + 1 > largest:
            parts.append([])
            size = 0
        parts[-1].append(data)
        size += len(data) + 1
    return parts
