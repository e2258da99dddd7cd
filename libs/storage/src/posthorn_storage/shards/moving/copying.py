"""Bringing an account's rows over to another shard: once in bounded steps, then again whatever the change log names.

Each step is one transaction of the target. It removes what it is about to copy, so it may be repeated, and what was
removed at the source in the meantime goes. Nothing here decides where the account lives.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from posthorn_model.errors import CannotCalculateChanges
from posthorn_model.ids import AccountId, BlobKey
from posthorn_model.mail import PreparedBlob
from posthorn_storage.blobs.attach import attach, letting_go
from posthorn_storage.codes import REF_MESSAGE
from posthorn_storage.database import Connection
from posthorn_storage.shards.moving.contents import (
    BY_MESSAGE,
    COUNTER,
    ENTRIES,
    ITEMS,
    KEYS,
    LOGGED,
    OTHERS,
    REFERENCES,
    SEEN,
    WHOLE,
)
from posthorn_storage.shards.moving.rows import BY_KEY, columns_of, copy_rows
from posthorn_storage.shards.moving.source_log import KINDS, changed_since
from posthorn_storage.shards.shard import Shard

MESSAGES = 500
"""Messages in one step."""
NARROW = 20_000
"""Narrow rows in one step."""
PARALLEL = 8
"""Blobs that are copied at once."""

MODSEQ = "SELECT modseq FROM account_counter WHERE account_id = $1"
LAST = 'SELECT max(id) FROM "{}" WHERE account_id = $1'
NEXT = 'SELECT id FROM "{}" WHERE account_id = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4'
NEXT_KEY = 'SELECT key FROM "{}" WHERE account_id = $1 AND key > $2 ORDER BY key OFFSET $3 LIMIT 1'
NEXT_LOG = """
SELECT modseq FROM change_log WHERE account_id = $1 AND kind = $2 AND modseq > $3 ORDER BY modseq OFFSET $4 LIMIT 1
"""
BLOBS = """
SELECT b.key, b.size, b.encoding, b.inline FROM blob b
WHERE b.state = 1 AND b.key IN (SELECT blob_key FROM blob_ref WHERE account_id = $1 AND {where})
"""
HELD = "SELECT DISTINCT blob_key FROM blob_ref WHERE account_id = $1 AND blob_key = ANY ($2::bytea[])"
OF_MESSAGES = f"kind = {REF_MESSAGE} AND ref_id = ANY ($2::bigint[])"
GONE = letting_go(f"WHERE account_id = $1 AND {OTHERS} AND NOT (blob_key = ANY ($2::bytea[]))")
PLACES = "SELECT mailbox_id, uid FROM mailbox_message WHERE account_id = $1 AND message_id = ANY ($2::bigint[])"
TAKEN = """
DELETE FROM mailbox_message b USING unnest($2::bigint[], $3::bigint[]) AS n (mailbox_id, uid)
WHERE b.account_id = $1 AND b.mailbox_id = n.mailbox_id AND b.uid = n.uid
"""
STILL = f"{OTHERS} AND blob_key = ANY ($2::bytea[])"


@dataclass(slots=True)
class Copy:
    """An account on its way from `source` to `target`; `tell` hears how many messages a step brought."""

    account: AccountId
    source: Shard
    target: Shard
    tell: Callable[[int], None]
    modseq: int = 0
    """Everything up to here has been copied."""
    _columns: dict[str, list[str]] = field(default_factory=dict)

    async def all(self) -> None:
        """Copy everything once, from whatever state it is in at the moment."""
        modseq = await self.source.pools.maintenance.fetchval(MODSEQ, self.account)
        if modseq is None:
            raise CannotCalculateChanges(account=self.account)
        self.modseq = modseq
        await self._messages_in_steps()
        await self._items_in_steps()
        for table in (KEYS, SEEN):
            await self._keyed_in_steps(table)
        for kind in KINDS:
            await self._log_in_steps(kind)
        await self._other_references()

    async def changes(self) -> int:
        """Copy again what changed since; returns how many objects that were.

        Raises CannotCalculateChanges when the change log does not reach back so far any more.
        """
        before = self.modseq
        changed = await changed_since(self.source.pools.maintenance, self.account, before)
        messages, entries = sorted(changed.objects["email"] - changed.updated), sorted(changed.updated)
        threads, items = sorted(changed.objects["thread"]), sorted(changed.objects["item"])
        for start in range(0, len(messages), MESSAGES):
            await self._messages(messages[start : start + MESSAGES])
        for start in range(0, len(entries), NARROW):
            async with self._sides() as (source, target):
                await self._entries(source, target, entries[start : start + NARROW])
        for start in range(0, len(threads), NARROW):
            await self._rows(KEYS, "thread_id = ANY ($2::bigint[])", threads[start : start + NARROW])
        if items:
            await self._rows(ITEMS, "id = ANY ($2::bigint[])", items)
        await self._rows(LOGGED, "modseq > $2 AND kind = ANY ($3::smallint[])", before, list(KINDS))
        await self._other_references()
        self.modseq = changed.modseq
        return len(changed)

    async def rest(self) -> None:
        """While nothing changes any more: the last changes, and the small tables as a whole.

        Deliveries are missing then: `deliveries` copies those that a comparison finds to differ.
        """
        await self.changes()
        async with self._sides() as (source, target):
            for table in (*WHOLE, COUNTER):
                await self._copy(source, target, table, "true")

    async def deliveries(self, those: Sequence[int]) -> None:
        """Copy these parts of the deliveries again."""
        await self._rows(SEEN, f"{BY_KEY} = ANY ($2::int[])", those)

    async def _messages_in_steps(self) -> None:
        async for ids in self._ids_in_steps("message"):
            await self._messages(ids)
            self.tell(len(ids))

    async def _items_in_steps(self) -> None:
        async for ids in self._ids_in_steps(ITEMS):
            await self._rows(ITEMS, "id = ANY ($2::bigint[])", ids)

    async def _ids_in_steps(self, table: str) -> AsyncIterator[list[int]]:
        """The ids that there are at the beginning: what comes later is in the change log, and may come faster than it
        can be copied.
        """
        database = self.source.pools.maintenance
        done, last = -1, await database.fetchval(LAST.format(table), self.account)
        while rows := await database.fetch(NEXT.format(table), self.account, done, last, MESSAGES):
            yield (ids := [row[0] for row in rows])
            done = ids[-1]

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
        blobs = await self._contents(OF_MESSAGES, ids)
        async with self._sides() as (source, target):
            await attach(target, blobs)
            await self._copy(source, target, REFERENCES, OF_MESSAGES, ids)
            for table, column in BY_MESSAGE.items():
                await self._copy(source, target, table, f"{column} = ANY ($2::bigint[])", ids)
            await self._entries(source, target, ids)

    async def _entries(self, source: Connection, target: Connection, ids: Sequence[int]) -> None:
        """Copy the entries of messages. A merge of threads may have taken a UID from a message that is there yet."""
        places = await source.fetch(PLACES, self.account, ids)
        await target.execute(TAKEN, self.account, [place[0] for place in places], [place[1] for place in places])
        await self._copy(source, target, ENTRIES, "message_id = ANY ($2::bigint[])", ids)

    async def _other_references(self) -> None:
        """Copy what the account refers to beside messages: uploads. One that comes meanwhile is for the next time."""
        blobs = await self._contents(OTHERS)
        keys = [blob.key for blob in blobs]
        async with self._sides() as (source, target):
            await attach(target, blobs)
            await target.execute(GONE, self.account, keys)
            await self._copy(source, target, REFERENCES, STILL, keys)

    async def _contents(self, where: str, *arguments: Any) -> list[PreparedBlob]:
        """Make content that is referred to durable for the target: what is large gets objects of its own there, unless
        the account has it there already; what is small comes along.
        """
        rows = await self.source.pools.maintenance.fetch(BLOBS.format(where=where), self.account, *arguments)
        large = [row["key"] for row in rows if row["inline"] is None]
        held = await self.target.pools.maintenance.fetch(HELD, self.account, large) if large else []
        slots = asyncio.Semaphore(PARALLEL)

        async def provide(key: BlobKey) -> None:
            async with slots:
                await self.target.blobs.provide(key, await self.source.blobs.read(key))

        await asyncio.gather(*(provide(BlobKey(key)) for key in {*large} - {row["blob_key"] for row in held}))
        return [PreparedBlob(BlobKey(row["key"]), row["size"], row["inline"], row["encoding"]) for row in rows]

    async def _rows(self, table: str, where: str, *arguments: Any) -> None:
        """Copy the account's rows for which `where` holds (from $2), in one transaction."""
        async with self._sides() as (source, target):
            await self._copy(source, target, table, where, *arguments)

    @asynccontextmanager
    async def _sides(self) -> AsyncIterator[tuple[Connection, Connection]]:
        """To read at the source, and one transaction at the target."""
        async with (
            self.source.pools.maintenance.connection() as source,
            self.target.pools.maintenance.transaction() as target,
        ):
            yield source, target

    async def _copy(self, source: Connection, target: Connection, table: str, where: str, *arguments: Any) -> None:
        if table not in self._columns:
            self._columns[table] = await columns_of(source, target, table)
        where = f"account_id = $1 AND {where}"
        # What is let go here and not taken up again is for the collector.
        remove = letting_go(f"WHERE {where}") if table == REFERENCES else f'DELETE FROM "{table}" WHERE {where}'  # noqa: S608
        await target.execute(remove, self.account, *arguments)
        await copy_rows(source, target, table, where, self.account, *arguments, columns=self._columns[table])
