"""SearchStore: the search index of all accounts, on whatever shards they live: how it is, and who does its work.

Searching itself is the mail store's. Methods raise Unavailable and Overloaded besides what each names.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from posthorn_model.ids import AccountId, MessageId
from posthorn_storage.index import Extract, Indexer, IndexTasks, Knows, Lag
from posthorn_storage.index.marks import Marker, marker
from posthorn_storage.index.postgres import PostgresIndex
from posthorn_storage.shards import Shard, Shards


@dataclass(frozen=True, slots=True)
class AccountIndex:
    """How much of an account is indexed."""

    indexed: int
    """Messages whose words are in the index."""
    partly: int
    """Those of them of which something could not be read."""
    lag: Lag


class SearchStore:
    """See the module."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def status(self, account: AccountId) -> AccountIndex:
        """Of one account. Raises AccountNotFound."""
        tasks = _tasks(await self._shards.of(account))
        indexed, partly = await tasks.indexed(account)
        return AccountIndex(indexed, partly, await tasks.lag(account))

    async def lag(self) -> Lag:
        """Of all accounts together."""
        found = [await _tasks(shard).lag() for shard in self._shards]
        return Lag(
            sum(lag.waiting for lag in found), sum(lag.failed for lag in found), max(lag.seconds for lag in found)
        )

    async def failures(self, limit: int = 100) -> list[tuple[AccountId, MessageId, int, str]]:
        """Tasks that were given up: account, message, attempts, reason; up to `limit` of each shard."""
        return [failure for shard in self._shards for failure in await _tasks(shard).failures(limit)]

    async def rebuild(self, account: AccountId) -> int:
        """Have all messages of an account indexed anew; returns how many. Until then the old words are found."""
        return await _tasks(await self._shards.of(account)).rebuild(account)

    async def marker(self, texts: Iterable[str]) -> Marker | None:
        """What marks the words of these texts where a search by words found them. Raises TooMany."""
        return await marker(self._shards.home.stems, texts)

    def indexers(self, extract: Extract | None = None, knows: Knows = lambda _type, _name: True) -> dict[str, Indexer]:
        """What does the tasks of each shard, by the shard's name.

        Without `extract` attachments are found by their names alone; those that it does not know need no reading.
        """
        return {shard.name: _indexer(shard, extract, knows) for shard in self._shards}


def _tasks(shard: Shard) -> IndexTasks:
    return IndexTasks(shard.pools.maintenance)


def _indexer(shard: Shard, extract: Extract | None, knows: Knows) -> Indexer:
    database = shard.pools.maintenance
    index = PostgresIndex(database, shard.stems)
    return Indexer(database, IndexTasks(database), index, shard.blobs, extract, knows)
