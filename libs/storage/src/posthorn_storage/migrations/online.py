"""What a revision may do that cannot be one transaction: each step commits by itself, and may be run again.

Nothing here blocks traffic: an index is built beside it, rows are filled in by the batch. Every batch holds the
migration's lease, so a process that was paused and lost it changes nothing (design law 5).
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from posthorn_model.errors import LeaseLost
from posthorn_storage.database import affected
from posthorn_storage.leases import Fence

INVALID = """
SELECT NOT i.indisvalid FROM pg_index i
WHERE i.indexrelid = to_regclass($1)
"""
"""An index whose building was cut short is there, is kept up to date, and is never used."""


class Online(Protocol):
    """The steps that an online revision may take."""

    async def index(self, name: str, statement: str) -> None:
        """Build an index: CREATE INDEX CONCURRENTLY IF NOT EXISTS `name`. What was begun and cut short goes first."""

    async def batches(self, statement: str) -> int:
        """Repeat a statement that changes a bounded number of rows until it changes none; returns how many it did."""

    async def step(self, statement: str) -> None:
        """One short idempotent statement of its own, such as VALIDATE CONSTRAINT."""


class OnlineWork:
    """Online on a database. `rows` hears how many rows were changed so far."""

    def __init__(self, connection: Any, fence: Fence, rows: Callable[[int], None]) -> None:
        self._connection = connection
        self._fence = fence
        self._rows = rows

    async def index(self, name: str, statement: str) -> None:
        """See Online. The statement itself waits for old transactions, never the other way round."""

        async def look() -> int:
            return int(await self._connection.fetchval(INVALID, name) or 0)

        if await self._held(look):
            await self._connection.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')
        await self._connection.execute(statement)

    async def batches(self, statement: str) -> int:
        """See Online."""
        total = 0

        async def batch() -> int:
            return affected(await self._connection.execute(statement))

        while count := await self._held(batch):
            total += count
            self._rows(total)
        return total

    async def step(self, statement: str) -> None:
        """See Online."""

        async def work() -> int:
            await self._connection.execute(statement)
            return 0

        await self._held(work)

    async def _held(self, work: Callable[[], Awaitable[int]]) -> int:
        async with self._connection.transaction():
            await self._connection.execute("SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0")
            if not await self._fence.hold(self._connection):
                raise LeaseLost(role=self._fence.key)
            return await work()
