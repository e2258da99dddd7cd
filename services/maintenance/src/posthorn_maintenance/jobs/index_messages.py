"""index.messages: keeps the search index of every shard up with the mail, attachments and all."""

import asyncio

from posthorn_maintenance.jobs.job import Tenure
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

    async def keep(self, search: SearchStore, tenure: Tenure) -> None:
        """Do the tasks of one share of the accounts, all shards at once, until the role is to be handed over.

        Killed at any point, the next holder does again what was not finished.
        """
        async with Extractors() as documents, asyncio.TaskGroup() as group:
            for shard, indexer in search.indexers(documents.text, knows).items():
                group.create_task(self._work(shard, indexer, tenure), name=f"index {shard}")

    async def _work(self, shard: str, indexer: Indexer, tenure: Tenure) -> None:
        epoch, share = tenure.lease.epoch, tenure.share
        begun = False
        while not tenure.ending:
            more = False
            try:
                if not begun:
                    await indexer.take_over(epoch, part=share.part, parts=share.parts)
                    begun = True
                if tenure.lease.may_start():
                    done = await indexer.step(epoch, self._settings.index_batch, part=share.part, parts=share.parts)
                    more = done.more
                    self._indexed.labels(shard).inc(done.indexed)
                    self._failed.labels(shard).inc(done.failed)
            except PosthornError as error:
                tenure.log.warning("messages not indexed, it is tried again", shard=shard, reason=error.public)
            if not more:
                # Also after a few: those that come meanwhile are one step then, which costs little more than one task.
                await tenure.pause(self._settings.index_interval)
