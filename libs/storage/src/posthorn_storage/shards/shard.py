"""One shard: a database with all rows of the accounts that live there, and what works on it.

The shard of number 0 is the home: it holds the directory, the queue, leases and nodes too, and every account unless
something else was said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from posthorn_model.events import Changed
from posthorn_model.queue_items import NewQueueMessage
from posthorn_storage.blobs.content import BY_NAME
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.blobs.stores import Stores
from posthorn_storage.database import Connection, Database, Pools
from posthorn_storage.index.languages import Stems
from posthorn_storage.index.port import SearchIndex
from posthorn_storage.index.postgres import PostgresIndex
from posthorn_storage.mail.delivery import Deliveries, Enqueue
from posthorn_storage.mail.identifiers import MessageIds
from posthorn_storage.mail.journal import Units
from posthorn_storage.settings import StorageSettings

HOME: Final = 0


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """What one process has open of a shard."""

    number: int
    name: str
    """Of the store in the settings."""
    region: str
    """Where its database stands, as the settings say; "" when they do not."""
    pools: Pools
    units: Units
    """Of interactive work."""
    blobs: Blobs
    deliveries: Deliveries
    index: SearchIndex
    stems: Stems

    @property
    def database(self) -> Database:
        """For interactive work."""
        return self.pools.interactive

    @property
    def is_home(self) -> bool:
        """Whether the directory and the queue are in the same database."""
        return self.number == HOME

    async def close(self) -> None:
        """Let the connections go; deliveries must be closed before."""
        await self.pools.close()


def assemble_blobs(database: Database, stores: Stores, settings: StorageSettings) -> Blobs:
    """The blobs whose rows are in `database`."""
    return Blobs(
        database,
        stores,
        inline_limit=settings.inline_limit,
        encoding=BY_NAME[settings.compression],
        cache_bytes=settings.cache_bytes,
    )


def assemble_shard(
    number: int,
    name: str,
    region: str,
    pools: Pools,
    blobs: Blobs,
    enqueue: Enqueue,
    settings: StorageSettings,
    notify: Callable[[Changed], None],
) -> Shard:
    """Put together what works on one shard."""
    ids = MessageIds()
    notify = pools.telling(notify)
    deliveries = Deliveries(
        Units(pools.delivery, ids, notify),
        enqueue,
        duplicate_window=settings.duplicate_window,
        combine_window=settings.combine_window,
    )
    stems = Stems(pools.interactive, settings.search)
    index = PostgresIndex(pools.interactive, stems)
    units = Units(pools.interactive, ids, notify)
    return Shard(number, name, region, pools, units, blobs, deliveries, index, stems)


async def refuse_queue(_connection: Connection, _messages: Sequence[NewQueueMessage]) -> None:
    """How the shards beside the home enqueue: not at all, for the queue is at home."""
    raise AssertionError("the queue is in the home's database alone")
