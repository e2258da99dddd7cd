"""Bringing an account's rows over to another shard: once in bounded steps, then again whatever the change log names.

Each step is one transaction of the target. It removes what it is about to copy, so it may be repeated, and what was
removed at the source in the meantime goes. Nothing here decides where the account lives.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from posthorn_model.errors import CannotCalculateChanges
from posthorn_model.ids import AccountId, BlobKey
from posthorn_model.mail import PreparedBlob
from posthorn_storage.blobs.attach import attach, letting_go
from posthorn_storage.codes import REF_MESSAGE
from posthorn_storage.database import Connection, Row
from posthorn_storage.mail.kinds import EMAIL, FILE, FOLDER, KIND, THREAD, VANISHED
from posthorn_storage.shards.moving.contents import (
    BY_MESSAGE,
    COMPARED,
    COUNTER,
    ITEMS,
    KEYS,
    LOGGED,
    REFERENCES,
    SEEN,
    WHOLE,
)
from posthorn_storage.shards.moving.rows import columns_of, copy_rows, digests
from posthorn_storage.shards.shard import Shard

MESSAGES = 500
"""Messages in one step."""
NARROW = 20_000
"""Narrow rows in one step."""
PARALLEL = 8
"""Blobs that are copied at once."""

STATE = "SELECT modseq, horizon, now() AS now FROM account_counter WHERE account_id = $1"
NEXT_MESSAGES = "SELECT id FROM message WHERE account_id = $1 AND id > $2 ORDER BY id LIMIT $3"
NEXT_ITEMS = "SELECT id FROM item WHERE account_id = $1 AND id > $2 ORDER BY id LIMIT $3"
NEXT_KEY = 'SELECT key FROM "{}" WHERE account_id = $1 AND key > $2 ORDER BY key OFFSET $3 LIMIT 1'
NEXT_LOG = """
SELECT modseq FROM change_log WHERE account_id = $1 AND kind = $2 AND modseq > $3 ORDER BY modseq OFFSET $4 LIMIT 1
"""
CHANGED = """
SELECT DISTINCT object_id FROM change_log WHERE account_id = $1 AND kind = ANY ($2::smallint[]) AND modseq > $3
"""
BLOBS = """
SELECT b.key, b.size, b.encoding, b.inline FROM blob b
WHERE b.state = 1 AND b.key IN (
    SELECT blob_key FROM blob_ref
    WHERE account_id = $1 AND (kind = $2) = $4 AND (ref_id = ANY ($3::bigint[]) OR NOT $4))
"""
KINDS = (*KIND.values(), VANISHED, FOLDER, FILE)
_ITEMS_OF = tuple(number for number in KINDS if number not in (THREAD, EMAIL, VANISHED))


@dataclass(slots=True)
class Copy:
    """An account on its way from `source` to `target`; `tell` hears how many messages a step brought."""

    account: AccountId
    source: Shard
    target: Shard
    tell: Callable[[int], None]
    modseq: int = 0
    """Everything up to here has been copied."""
    _began: datetime | None = None
    _columns: dict[str, list[str]] = field(default_factory=dict)

    async def all(self) -> None:
        """Copy everything once, from whatever state it is in at the moment."""
        state = await self._state()
        self.modseq, self._began = state["modseq"], state["now"]
        await self._messages_in_steps()
        await self._items_in_steps()
        for table in (KEYS, SEEN):
            await self._keyed_in_steps(table)
        for kind in KINDS:
            await self._log_in_steps(kind)

    async def changes(self) -> int:
        """Copy again what changed since; returns how many objects that were.

        Raises CannotCalculateChanges when the change log does not reach back so far any more.
        """
        before, state = self.modseq, await self._state()
        if state["horizon"] > before:
            raise CannotCalculateChanges(account=self.account, since=before)
        messages = await self._changed(before, EMAIL)
        for start in range(0, len(messages), MESSAGES):
            await self._messages(messages[start : start + MESSAGES])
        threads = await self._changed(before, THREAD)
        for start in range(0, len(threads), NARROW):
            await self._rows(KEYS, "thread_id = ANY ($2::bigint[])", threads[start : start + NARROW])
        items = await self._changed(before, *_ITEMS_OF)
        if items:
            await self._rows(ITEMS, "id = ANY ($2::bigint[])", items)
        await self._rows(LOGGED, "modseq > $2 AND kind = ANY ($3::smallint[])", before, list(KINDS))
        self.modseq = state["modseq"]
        return len(messages) + len(threads) + len(items)

    async def rest(self) -> None:
        """While nothing changes any more: the last changes, and what no change log tells of."""
        await self.changes()
        await self._other_references()
        for table in WHOLE:
            await self._rows(table, "true")
        # A digest goes when its reply has arrived, and no log says so.
        await self._rows(SEEN, "(at >= $2::timestamptz - interval '1 minute' OR get_byte(key, 0) = 100)", self._began)
        await self._rows(COUNTER, "true")

    async def differing(self) -> list[str]:
        """The tables in which source and target have different rows."""
        here, there = await asyncio.gather(
            *(digests(shard.pools.maintenance, self.account, COMPARED) for shard in (self.source, self.target))
        )
        return [table for table in COMPARED if here[table] != there[table]]

    async def _state(self) -> Row:
        row = await self.source.pools.maintenance.fetchrow(STATE, self.account)
        if row is None:
            raise CannotCalculateChanges(account=self.account)
        return row

    async def _changed(self, since: int, *kinds: int) -> list[int]:
        rows = await self.source.pools.maintenance.fetch(CHANGED, self.account, list(kinds), since)
        return sorted(row[0] for row in rows)

    async def _messages_in_steps(self) -> None:
        last = -1
        while rows := await self.source.pools.maintenance.fetch(NEXT_MESSAGES, self.account, last, MESSAGES):
            ids = [row[0] for row in rows]
            await self._messages(ids)
            self.tell(len(ids))
            last = ids[-1]

    async def _items_in_steps(self) -> None:
        last = -1
        while rows := await self.source.pools.maintenance.fetch(NEXT_ITEMS, self.account, last, MESSAGES):
            await self._rows(ITEMS, "id = ANY ($2::bigint[])", [row[0] for row in rows])
            last = rows[-1][0]

    async def _keyed_in_steps(self, table: str) -> None:
        last: bytes | None = b""
        while last is not None:
            end = await self.source.pools.maintenance.fetchval(NEXT_KEY.format(table), self.account, last, NARROW)
            await self._rows(table, "key > $2 AND ($3::bytea IS NULL OR key <= $3)", last, end)
            last = end

    async def _log_in_steps(self, kind: int) -> None:
        last: int | None = -1
        while last is not None:
            end = await self.source.pools.maintenance.fetchval(NEXT_LOG, self.account, kind, last, NARROW)
            end = None if end is None or end >= self.modseq else end
            until = self.modseq if end is None else end
            await self._rows(LOGGED, "kind = $2 AND modseq > $3 AND modseq <= $4", kind, last, until)
            last = end

    async def _messages(self, ids: Sequence[int]) -> None:
        """Copy messages with their content and all rows of theirs; those gone at the source go at the target."""
        async with self.source.pools.maintenance.connection() as source:
            blobs = await self._blobs(await source.fetch(BLOBS, self.account, REF_MESSAGE, ids, True))
            async with self.target.pools.maintenance.transaction() as target:
                await attach(target, blobs)
                where = "account_id = $1 AND kind = $3 AND ref_id = ANY ($2::bigint[])"
                await self._copy(source, target, REFERENCES, where, ids, REF_MESSAGE)
                for table, column in BY_MESSAGE.items():
                    await self._copy(source, target, table, f"account_id = $1 AND {column} = ANY ($2::bigint[])", ids)

    async def _other_references(self) -> None:
        """Copy what the account refers to beside messages: uploads."""
        async with self.source.pools.maintenance.connection() as source:
            blobs = await self._blobs(await source.fetch(BLOBS, self.account, REF_MESSAGE, [], False))
            async with self.target.pools.maintenance.transaction() as target:
                await attach(target, blobs)
                await self._copy(source, target, REFERENCES, "account_id = $1 AND kind <> $2", REF_MESSAGE)

    async def _blobs(self, rows: Sequence[Row]) -> list[PreparedBlob]:
        """Make content durable for the target: large content gets objects of its own, small content comes along."""
        slots = asyncio.Semaphore(PARALLEL)

        async def provide(key: BlobKey) -> None:
            async with slots:
                await self.target.blobs.provide(key, await self.source.blobs.read(key))

        await asyncio.gather(*(provide(BlobKey(row["key"])) for row in rows if row["inline"] is None))
        return [PreparedBlob(BlobKey(row["key"]), row["size"], row["inline"], row["encoding"]) for row in rows]

    async def _rows(self, table: str, where: str, *arguments: Any) -> None:
        """Copy the account's rows for which `where` holds (from $2), in one transaction."""
        async with (
            self.source.pools.maintenance.connection() as source,
            self.target.pools.maintenance.transaction() as target,
        ):
            await self._copy(source, target, table, f"account_id = $1 AND {where}", *arguments)

    async def _copy(self, source: Connection, target: Connection, table: str, where: str, *arguments: Any) -> None:
        if table not in self._columns:
            self._columns[table] = await columns_of(source, target, table)
        # What is let go here and not taken up again is for the collector.
        remove = letting_go(f"WHERE {where}") if table == REFERENCES else f'DELETE FROM "{table}" WHERE {where}'  # noqa: S608
        await target.execute(remove, self.account, *arguments)
        await copy_rows(source, target, table, where, self.account, *arguments, columns=self._columns[table])
