"""index.messages: keeps the search index of every shard up with the mail, attachments and all."""

import asyncio

from structlog.typing import FilteringBoundLogger

from posthorn_bus import HeldLease
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_model.errors import PosthornError
from posthorn_node.metrics import Metrics
from posthorn_storage.index import Indexer
from posthorn_storage.search_store import SearchStore
from posthorn_text_extract import Extractors, knows


class Indexing:
    """What a holder of the role does, and how much it did."""

    def __init__(self, metrics: Metrics, settings: MaintenanceSettings) -> None:
        self._settings = settings
        self._indexed = metrics.counter("indexed_messages", "Messages written to the search index", ["shard"])
        self._failed = metrics.counter("index_failures", "Attempts to index a message that failed", ["shard"])

    async def run(
        self, search: SearchStore, lease: HeldLease, log: FilteringBoundLogger, *, part: int, parts: int
    ) -> None:
        """Do the tasks of one share of the accounts, all shards at once, until the lease is to be handed over.

        Killed at any point, the next holder does again what was not finished.
        """
        async with Extractors() as documents, asyncio.TaskGroup() as group:
            for shard, indexer in search.indexers(documents.text, knows).items():
                group.create_task(
                    self._keep(shard, indexer, lease, log.bind(shard=shard), part=part, parts=parts),
                    name=f"index {shard}",
                )

    async def _keep(
        self, shard: str, indexer: Indexer, lease: HeldLease, log: FilteringBoundLogger, *, part: int, parts: int
    ) -> None:
        begun = False
        while lease.may_start():
            claimed = 0
            try:
                if not begun:
                    await indexer.take_over(lease.epoch, part=part, parts=parts)
                    begun = True
                done = await indexer.step(lease.epoch, self._settings.index_batch, part=part, parts=parts)
                claimed = done.claimed
                self._indexed.labels(shard).inc(done.indexed)
                self._failed.labels(shard).inc(done.failed)
            except PosthornError as error:
                log.warning("messages not indexed, it is tried again", role=lease.key, reason=error.public)
            if not claimed:
                await _pause(lease, self._settings.index_interval)


async def _pause(lease: HeldLease, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await lease.ending.wait()
    except TimeoutError:
        return
