"""Whether the brokers answer, and what the topics look like: asked every second over a connection of its own.

Everything else in this package starts when the pulse comes and begins anew when it stops or the topics change, so that
an outage ends in the same way for all: with new positions and a Gap.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from posthorn_bus.kafka.connection import close
from posthorn_bus.kafka.topics import ensure_topics, partitions
from posthorn_bus.settings import KafkaSettings
from posthorn_model.events import Topic

INTERVAL = 1.0
LIMIT = 4.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster during one time in which it answered without interruption."""

    partitions: Mapping[Topic, int]


class Pulse:
    """Holds the current Cluster, or None."""

    def __init__(self, settings: KafkaSettings, options: Mapping[str, Any]) -> None:
        self._settings = settings
        self._options = options
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._down.set()
        self.cluster: Cluster | None = None
        self.detail = "not connected yet"

    async def feel(self) -> None:
        """Connect, make the topics, and ask until something fails. Raises KafkaError, OSError, TimeoutError."""
        admin = AIOKafkaAdminClient(**self._options, request_timeout_ms=int(LIMIT * 1000))
        try:
            async with asyncio.timeout(LIMIT):
                await admin.start()
            async with asyncio.timeout(LIMIT * 3):
                await ensure_topics(admin, self._settings)
                found = await self._complete(admin)
            self._come(Cluster(found))
            while found == self.cluster_partitions:
                await asyncio.sleep(INTERVAL)
                async with asyncio.timeout(LIMIT):
                    found = await partitions(admin, self._settings)
            self.detail = "the topics changed"
        except (KafkaError, OSError, TimeoutError) as error:
            self.detail = str(error) or repr(error)
            raise
        finally:
            self.cluster = None
            self._up.clear()
            self._down.set()
            await close(admin.close())

    async def _complete(self, admin: AIOKafkaAdminClient) -> Mapping[Topic, int]:
        """Wait until every topic has leaders: a new topic is not usable at once."""
        while True:
            found = await partitions(admin, self._settings)
            if len(found) == len(Topic):
                return found
            await asyncio.sleep(0.05)

    @property
    def cluster_partitions(self) -> Mapping[Topic, int]:
        return self.cluster.partitions if self.cluster else {}

    async def wait_up(self) -> Cluster:
        """Wait until the brokers answer."""
        while self.cluster is None:
            await self._up.wait()
        return self.cluster

    async def wait_down(self) -> None:
        """Wait until they do not answer, or the topics changed."""
        await self._down.wait()

    def _come(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.detail = "connected"
        self._down.clear()
        self._up.set()
