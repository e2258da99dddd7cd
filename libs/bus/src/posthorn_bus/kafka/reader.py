"""Reads one broadcast topic: all its partitions, without a group, from the end.

It never reads old events to catch up. Whenever its positions are chosen anew (connected, reconnected, out of range, too
far behind) the subscribers hear a Gap first.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from posthorn_bus.fanout import Fanout, Intake, Tally
from posthorn_bus.kafka.connection import close
from posthorn_bus.kafka.pulse import Cluster, Pulse
from posthorn_bus.kafka.topics import topic_name
from posthorn_bus.settings import KafkaSettings
from posthorn_model.events import Topic
from posthorn_model.ports import Clock

# A fetch is answered as soon as there is an event; this only bounds how long an idle one waits at the broker.
FETCH_WAIT_MS = 500
SILENCE = 10.0
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Lag:
    """How many events the brokers have beyond those read, and for how many seconds not all have been read."""

    events: int
    seconds: float


class Reader:
    """One topic's events, handed to `intake`."""

    def __init__(
        self,
        topic: Topic,
        settings: KafkaSettings,
        options: Mapping[str, Any],
        pulse: Pulse,
        intake: Intake,
        fanout: Fanout,
        tally: Tally,
        clock: Clock,
    ) -> None:
        self.topic = topic
        self.positioned = False
        """Whether every event from now on is heard."""
        self._name = topic_name(settings, topic)
        self._max_lag = settings.max_lag
        self._options = options
        self._pulse = pulse
        self._intake = intake
        self._fanout = fanout
        self._tally = tally
        self._clock = clock
        self._reason = "connected"
        self._consumer: AIOKafkaConsumer | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._level = clock.monotonic()

    def lag(self) -> Lag:
        """By what the brokers said with their last answer; without a connection only the time counts."""
        behind, now = self._behind(), self._clock.monotonic()
        if self.positioned and behind == 0:
            self._level = now
        return Lag(behind, now - self._level)

    def _behind(self) -> int:
        consumer = self._consumer
        if consumer is None:
            return 0
        ends = {part: consumer.highwater(part) for part in self._positions}
        return sum(max(0, end - self._positions[part]) for part, end in ends.items() if end is not None)

    async def read(self) -> None:
        """Position and read until the connection is lost. Raises KafkaError, OSError, TimeoutError."""
        cluster = await self._pulse.wait_up()
        consumer = AIOKafkaConsumer(
            **self._options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=int(SILENCE * 1000),
        )
        reading = asyncio.create_task(self._read(consumer, cluster), name=f"bus: read {self.topic}")
        leaving = asyncio.create_task(self._pulse.wait_down(), name=f"bus: watch {self.topic}")
        try:
            done, _ = await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
            self._reason = "reconnected"
            if reading in done:
                reading.result()
        except KafkaError as error:
            self._reason = str(error) or repr(error)
            raise
        finally:
            self._level = self._clock.monotonic() if self.positioned and not self._behind() else self._level
            self.positioned, self._consumer = False, None
            reading.cancel()
            leaving.cancel()
            await asyncio.gather(reading, leaving, return_exceptions=True)
            await close(consumer.stop())

    async def _read(self, consumer: AIOKafkaConsumer, cluster: Cluster) -> None:
        await consumer.start()
        parts = [TopicPartition(self._name, number) for number in range(cluster.partitions[self.topic])]
        consumer.assign(parts)
        for part, end in (await consumer.end_offsets(parts)).items():
            consumer.seek(part, end)
            self._positions[part] = end
        self._consumer = consumer
        # After the positions are fixed: what came before is read anew because of the Gap, what comes later is heard.
        self._fanout.gap(self.topic, self._reason)
        self.positioned = True
        answered, since = 0, self._clock.monotonic()
        while True:
            for part, records in (await consumer.getmany(timeout_ms=1000, max_records=CHUNK)).items():
                for record in records:
                    self._take(record.value)
                self._positions[part] = records[-1].offset + 1
                self._skip_lag(consumer, part, records[-1].offset + 1)
            if not self._behind():
                self._level = self._clock.monotonic()
            latest = self._last_answer(consumer, parts)
            if latest != answered:
                answered, since = latest, self._clock.monotonic()
            elif self._clock.monotonic() - since > SILENCE:
                raise TimeoutError("a broker is silent")
            await asyncio.sleep(0)

    def _take(self, value: bytes | None) -> None:
        if value is None:
            self._tally.skipped += 1
        else:
            self._intake.take(value)

    def _skip_lag(self, consumer: AIOKafkaConsumer, part: TopicPartition, position: int) -> None:
        """Far behind, it jumps to the end: a Gap makes subscribers re-read at once what the events would say late."""
        end = consumer.highwater(part)
        if end is not None and end - position > self._max_lag:
            consumer.seek(part, end)
            self._positions[part] = end
            self._fanout.gap(self.topic, f"{end - position} events behind")

    def _last_answer(self, consumer: AIOKafkaConsumer, parts: Collection[TopicPartition]) -> int:
        """When the broker that was silent for longest answered last (its clock is not compared with anything)."""
        return min((consumer.last_poll_timestamp(part) or 0 for part in parts), default=0)
