"""KafkaBus: the Bus port over Kafka topics and groups.

`start` returns at once; every part connects by itself when the brokers answer and begins anew after an outage.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from posthorn_bus.fanout import Fanout, Intake, Subscription, Tally
from posthorn_bus.health import health_of
from posthorn_bus.kafka.connection import EXPECTED, client_options
from posthorn_bus.kafka.group import Member
from posthorn_bus.kafka.pulse import Pulse
from posthorn_bus.kafka.reader import Reader
from posthorn_bus.kafka.sender import Sender
from posthorn_bus.outbox import Outbox
from posthorn_bus.retry import cancelled, for_ever
from posthorn_bus.settings import BusIdentity, KafkaSettings
from posthorn_model.events import Event, Topic
from posthorn_model.ports import BusHealth, Clock


class KafkaBus:
    """Raises OSError or ssl.SSLError when made with certificates that cannot be read."""

    def __init__(
        self,
        settings: KafkaSettings,
        identity: BusIdentity,
        clock: Clock,
        first: Callable[[Event], None] | None = None,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._options = client_options(settings, f"posthorn-{identity.member}") | {
            "metadata_max_age_ms": int(settings.metadata_age * 1000)
        }
        self._tally = Tally()
        self._fanout = Fanout(self._tally)
        self._intake = Intake(self._fanout, identity.boot, self._tally, first, clock)
        self._outbox = Outbox(identity, self._tally)
        self._pulse = Pulse(settings, self._options)
        self._sender = Sender(settings, self._options, self._pulse, self._outbox)
        self._readers: dict[Topic, Reader] = {}
        self._members: set[Member] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._running = False

    async def start(self) -> None:
        self._running = True
        self._tasks = [
            asyncio.create_task(for_ever(self._pulse.feel, "bus: brokers", EXPECTED), name="bus: brokers"),
            asyncio.create_task(for_ever(self._sender.send, "bus: sender", EXPECTED), name="bus: sender"),
        ]
        self._read(*self._fanout.topics())

    async def stop(self) -> None:
        self._running = False
        for member in self._members:
            member.leave()
        # The pulse last: the others look at it to see whether closing politely makes sense.
        await cancelled(*self._tasks[1:])
        await cancelled(*self._tasks[:1])
        for member in self._members:
            member.proposal.close()
        self._fanout.close()

    def publish(self, event: Event) -> None:
        self._fanout.deliver(event)
        self._outbox.add(event)

    def subscribe(self, *topics: Topic) -> Subscription:
        subscription = self._fanout.subscribe(topics)
        if self._running:
            self._read(*topics)
        return subscription

    async def propose(self, family: Topic, keys: Sequence[str]) -> AsyncGenerator[frozenset[str], None]:
        member = Member(family, keys, self._settings, self._options, self._identity, self._pulse)
        self._members.add(member)
        name = f"bus: group {family}"
        membership = asyncio.create_task(for_ever(member.take_part, name, EXPECTED), name=name)
        try:
            async for proposed in member.proposal:
                yield proposed
        finally:
            self._members.discard(member)
            member.leave()
            membership.cancel()
            await asyncio.gather(membership, return_exceptions=True)

    def health(self) -> BusHealth:
        behind = [topic.value for topic, reader in self._readers.items() if not reader.positioned]
        connected = self._pulse.cluster is not None and self._sender.ready and not behind
        detail = self._pulse.detail if not behind else f"{self._pulse.detail}; not reading {', '.join(behind)}"
        lags = [reader.lag() for reader in self._readers.values()]
        return health_of(
            "kafka",
            detail,
            self._tally,
            self._clock.monotonic(),
            connected=connected,
            lag_events=sum(lag.events for lag in lags),
            lag_seconds=max((lag.seconds for lag in lags), default=0.0),
        )

    def _read(self, *topics: Topic) -> None:
        """Begin to read the topics that are not read yet."""
        for topic in topics:
            if topic in self._readers:
                continue
            reader = Reader(
                topic,
                self._settings,
                self._options,
                self._pulse,
                self._intake,
                self._fanout,
                self._tally,
                self._clock,
            )
            self._readers[topic] = reader
            name = f"bus: reader of {topic}"
            self._tasks.append(asyncio.create_task(for_ever(reader.read, name, EXPECTED), name=name))
