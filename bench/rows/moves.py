"""Moving a full account between two databases: how long its writers wait, and how fast its rows come over.

The reference copies the rows of the largest tables alone, by COPY from database to database, in one go.
"""

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import asyncpg

from bench.runner import Row
from bench.stock import Stock
from posthorn_model.ids import AccountId
from posthorn_storage import ShardSettings, Storage, StorageSettings
from posthorn_storage.migrate import migrate
from posthorn_storage.shards.moving import moves
from posthorn_storage.shards.moving.rows import columns_of, copy_rows
from posthorn_storage.shards.registry import register

TABLES = ("message", "message_text", "mailbox_message")
NAMES = ("other", "postgres")


class Mover:
    """Moves the one account of a stock back and forth."""

    def __init__(self, storage: Storage, account: AccountId, messages: int) -> None:
        self._storage = storage
        self._account = account
        self._messages = messages
        self._targets = itertools.cycle(NAMES)
        self.rate = 0.0

    async def frozen(self) -> float:
        """Milliseconds that writers of the account wait during one move."""
        begun = time.perf_counter()
        moved = await self._storage.moves.move(self._account, next(self._targets))
        self.rate = self._messages / (time.perf_counter() - begun)
        await self._storage.moves.clean()
        return moved.frozen * 1000

    async def speed(self) -> float:
        """Messages a second of the last move."""
        await self.frozen()
        return self.rate

    async def bare(self) -> float:
        """Messages a second when nothing is done but to copy the rows of three tables, and to take that back."""
        placed = (await self._storage.shards.of(self._account)).name
        source, target = (self._storage.shards.named(name).database for name in (placed, *set(NAMES) - {placed}))
        async with source.connection() as here, target.connection() as there:
            transaction = there.transaction()
            await transaction.start()
            begun = time.perf_counter()
            for table in TABLES:
                columns = await columns_of(here, there, table)
                await copy_rows(here, there, table, "account_id = $1", self._account, columns=columns)
            seconds = time.perf_counter() - begun
            await transaction.rollback()
        return self._messages / seconds


@asynccontextmanager
async def rows(stock: Stock, messages: int) -> AsyncIterator[list[Row]]:
    """The rows over a stock of one account with so many messages."""
    name = f"bench_other_{time.time_ns()}"
    connection = await asyncpg.connect(stock.dsn)
    other = urlsplit(stock.dsn)._replace(path=f"/{name}").geturl()
    await connection.execute(f"CREATE DATABASE {name}")
    moves.LINGER_SECONDS = 0.0  # type: ignore[misc]
    try:
        await migrate(other)
        settings = StorageSettings(dsn=stock.dsn, blobs=None, shards=(ShardSettings("other", other),))
        await register(settings)
        storage = await Storage.open(replace(settings, pool_size=8))
        try:
            mover = Mover(storage, stock.accounts[0], messages)
            yield [
                Row(f"move {messages:,} messages: writers wait", "ms", False, mover.frozen, None, "", runs=3),
                Row(
                    f"move {messages:,} messages",
                    "messages/s",
                    True,
                    mover.speed,
                    mover.bare,
                    "bare COPY of three tables",
                    runs=3,
                ),
            ]
        finally:
            await storage.close()
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()
