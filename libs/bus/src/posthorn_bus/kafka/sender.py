"""Sends what the outbox gathered: one small batch per partition, keyed so that an account's events stay in order.

While the brokers are away events are kept for a few seconds and then dropped; receivers hear a Gap afterwards.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from posthorn_bus.fanout import Tally
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

    def __init__(
        self, settings: KafkaSettings, options: Mapping[str, Any], pulse: Pulse, outbox: Outbox, tally: Tally
    ) -> None:
        self._settings = settings
        self._options = options
        self._pulse = pulse
        self._outbox = outbox
        self._tally = tally
        self._producer: AIOKafkaProducer | None = None

    @property
    def ready(self) -> bool:
        return self._producer is not None

    async def send(self) -> None:
        """Connect and send until something fails. Raises KafkaError, OSError, TimeoutError."""
        await self._pulse.wait_up()
        # Leader's acknowledgement only: events are hints. The outbox has done the lingering.
        producer = AIOKafkaProducer(**self._options, acks=1, linger_ms=0, request_timeout_ms=KEEP_MS)
        try:
            await producer.start()
            self._producer = producer
            while True:
                batch = await self._outbox.take()
                await self._post(producer, batch, await self._pulse.wait_up())
        finally:
            self._producer = None
            await close(self._flush(producer), FLUSH)

    async def _post(self, producer: AIOKafkaProducer, batch: Sequence[tuple[Event, bytes]], cluster: Cluster) -> None:
        for event, data in batch:
            topic = topic_of(event)
            partition = partition_of(event, cluster.partitions[topic])
            posted = await producer.send(topic_name(self._settings, topic), data, partition=partition)
            posted.add_done_callback(self._settled)

    def _settled(self, posted: "asyncio.Future[object]") -> None:
        if posted.cancelled() or posted.exception() is not None:
            self._tally.dropped += 1

    async def _flush(self, producer: AIOKafkaProducer) -> None:
        """Send what waits and close."""
        if self._pulse.cluster is not None:
            await self._post(producer, self._outbox.drain(), self._pulse.cluster)
        await producer.stop()
