"""The search index: how fast messages go in, and what a look-up costs in a small and in a large account.

References: PostgreSQL's own full text search over the same texts, `to_tsvector` and a GIN index over everybody's words.
"""

import itertools
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from bench.filling import Shape
from bench.rows.storage import best_of
from bench.runner import Row
from bench.stock import Stock, stocked
from posthorn_model.ids import AccountId, Epoch
from posthorn_storage.mail.search import Matches, SearchQuery, TextField

SMALL_ACCOUNTS, SMALL, LARGE = 500, 100, 20_000
WORDS = 100
"""Of one message, out of a vocabulary whose words are as frequent as those of a language."""
VOCABULARY = 30_000
INDEXED = 2_000
EPOCH = Epoch(1)

MESSAGES = """
INSERT INTO message (account_id, id, thread_id, blob_key, size, received_at, created_modseq, has_attachment, subject,
    base_subject, preview, envelope, body_structure, body, structure, listing, headers)
SELECT account_id, id, id, '', 1000, now(), 1, false, 's', 's', '', '', '', '',
    convert_to('{"v":1,"part":[0,0,0,"text","plain",[],"7bit",0,0,[]]}', 'UTF8'), '', ''
FROM unnest($1::bigint[], $2::bigint[]) AS n (account_id, id)
"""
TEXTS = """
INSERT INTO message_text (account_id, message_id, "from", "to", cc, bcc, subject, headers, body)
SELECT account_id, id, 'ann <ann@example.net>', 'b <b@example.org>', '', '', 's', '', body
FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS n (account_id, id, body)
"""
BARE = (
    "CREATE TABLE bare (account_id bigint, message_id bigint, words tsvector, PRIMARY KEY (account_id, message_id))",
    "CREATE INDEX ON bare USING gin (words)",
)
BARE_WRITE = """
INSERT INTO bare SELECT account_id, message_id, to_tsvector('english', body) FROM message_text
WHERE message_id = ANY ($1::bigint[])
"""
BARE_LOOK = "SELECT count(*) FROM bare WHERE account_id = $1 AND words @@ to_tsquery('english', $2)"


class Library:
    """A database in which every message is indexed, ours and bare."""

    def __init__(self, stock: Stock, connection: asyncpg.Connection) -> None:
        self._stock = stock
        self._connection = connection
        self._random = random.Random(7)
        self._weights = list(itertools.accumulate(1 / (n + 2) for n in range(VOCABULARY)))
        self._next = 1
        (self._indexer,) = stock.storage.search.indexers().values()

    async def add(self, accounts: Sequence[AccountId]) -> list[int]:
        """One message each; returns their ids."""
        ids = list(range(self._next, self._next + len(accounts)))
        self._next += len(ids)
        vocabulary = [f"w{n:x}" for n in range(VOCABULARY)]
        bodies = [" ".join(self._random.choices(vocabulary, cum_weights=self._weights, k=WORDS)) for _ in ids]
        await self._connection.execute(MESSAGES, accounts, ids)
        await self._connection.execute(TEXTS, accounts, ids, bodies)
        return ids

    async def index(self) -> None:
        """Do all tasks."""
        while (await self._indexer.step(EPOCH, 50)).claimed:
            pass

    async def index_bare(self, ids: Sequence[int]) -> None:
        """The same messages in the reference's table."""
        for first in range(0, len(ids), 50):
            await self._connection.execute(BARE_WRITE, ids[first : first + 50])

    async def indexing(self) -> float:
        """Messages indexed in a second, by one worker."""
        self._ids = await self.add(self._stock.accounts[: INDEXED // 4] * 4)
        begun = time.perf_counter()
        await self.index()
        return INDEXED / (time.perf_counter() - begun)

    async def indexing_bare(self) -> float:
        """The messages of the last run, by to_tsvector."""
        begun = time.perf_counter()
        await self.index_bare(self._ids)
        return len(self._ids) / (time.perf_counter() - begun)

    async def look(self, account: AccountId, text: str) -> float:
        """Milliseconds of a search that shows the first 50."""
        query = SearchQuery(Matches(TextField.TEXT, text), limit=50)
        return await best_of(10, lambda: self._stock.storage.mail.search(account, query))

    async def look_bare(self, account: AccountId, text: str) -> float:
        """Milliseconds of counting the same messages."""
        return await best_of(10, lambda: self._connection.fetchval(BARE_LOOK, account, text))


@asynccontextmanager
async def libraries(server: str) -> AsyncIterator[list[Row]]:
    """The rows, over a database that is filled first."""
    async with stocked(server, SMALL_ACCOUNTS, Shape(0)) as stock:
        connection = await asyncpg.connect(stock.dsn, server_settings={"synchronous_commit": "off"})
        for statement in BARE:
            await connection.execute(statement)
        library = Library(stock, connection)
        order = stock.accounts * SMALL + stock.accounts[:1] * LARGE
        random.Random(1).shuffle(order)
        for first in range(0, len(order), 1_000):
            await library.index_bare(await library.add(order[first : first + 1_000]))
        await library.index()
        await connection.execute("VACUUM ANALYZE")
        yield rows(library, stock.accounts[-1], stock.accounts[0])
        await connection.close()


def rows(library: Library, small: AccountId, large: AccountId) -> list[Row]:
    """Indexing, and looking for words that are common, rare, or only begun."""
    indexing = Row(
        "messages indexed by one worker", "/s", True, library.indexing, library.indexing_bare, "to_tsvector and GIN", 3
    )
    looks = []
    for account, name in ((small, f"{SMALL}"), (large, f"{LARGE:,}")):
        for text, bare, what in (("w3", "w3", "common word"), ("w7d0", "w7d0", "rare word"), ("w1*", "w1:*", "w1*")):
            looks.append(
                Row(
                    f"search for a {what} in {name} messages",
                    "ms",
                    False,
                    lambda account=account, text=text: library.look(account, text),  # type: ignore[misc]
                    lambda account=account, text=bare: library.look_bare(account, text),  # type: ignore[misc]
                    "bare tsquery, counted",
                    3,
                )
            )
    return [indexing, *looks]
