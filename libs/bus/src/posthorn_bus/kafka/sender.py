"""Sends what the outbox gathered: one small batch per partition, keyed so that an account's events stay in order.

While the brokers are away events are kept for a few seconds and then dropped; receivers hear a Gap afterwards, also
when only this sender was cut off: it tells them what it lost.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer

from posthorn_bus.envelope import Lost
from posthorn_bus.kafka.connection import close
from posthorn_bus.kafka.pulse import Cluster, Pulse
from posthorn_bus.kafka.topics import topic_name
from posthorn_bus.outbox import Outbox
from posthorn_bus.routing import partition_of, topic_of
from posthorn_bus.settings import KafkaSettings
from posthorn_model.events import Event

KEEP_MS = 5000
FLUSH = 2.0


class Sender:
    """The producer of one process."""

    def __init__(self, settings: KafkaSettings, options: Mapping[str, Any], pulse: Pulse, outbox: Outbox) -> None:
        self._settings = settings
        self._options = options
        self._pulse = pulse
        self._outbox = outbox
        self._producer: AIOKafkaProducer | None = None

    @property
    def ready(self) -> bool:
        return self._producer is not None

    async def send(self) -> None:
        """Connect and send until something fails. Raises KafkaError, OSError, TimeoutError."""
        await self._pulse.wait_up()
        # By all replicas that are in step: what only the leader had is lost with it, and nobody would be told. The
        # outbox has done the lingering.
        producer = AIOKafkaProducer(**self._options, acks="all", linger_ms=0, request_timeout_ms=KEEP_MS)
        try:
            await producer.start()
            self._producer = producer
            while True:
                await self._post(producer, await self._outbox.take())
        finally:
            self._producer = None
            await close(self._flush(producer), FLUSH)

    async def _post(self, producer: AIOKafkaProducer, batch: Sequence[tuple[Event | Lost, bytes]]) -> None:
        waiting = deque(batch)
        try:
            cluster = await self._pulse.wait_up()
            while waiting:
                await self._post_one(producer, *waiting[0], cluster)
                waiting.popleft()
        finally:
            for event, _ in waiting:
                self._outbox.lose(event)

    async def _post_one(self, producer: AIOKafkaProducer, event: Event | Lost, data: bytes, cluster: Cluster) -> None:
        topic = topic_of(event)
        partition = partition_of(event, cluster.partitions[topic])
        posted = await producer.send(topic_name(self._settings, topic), data, partition=partition)
        posted.add_done_callback(partial(self._settled, event))

    def _settled(self, event: Event | Lost, posted: "asyncio.Future[object]") -> None:
        if posted.cancelled() or posted.exception() is not None:
            self._outbox.lose(event)

    async def _flush(self, producer: AIOKafkaProducer) -> None:
        """Send what waits and close."""
        if self._pulse.cluster is not None:
            await self._post(producer, self._outbox.drain())
        await producer.stop()
