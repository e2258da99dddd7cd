"""Walks accounts, the queue and blobs, and tells what breaks a rule. It changes nothing and may run at any time.

Rows are read in snapshots of a bounded number of accounts, so that writers are not held up and what they do meanwhile
is no finding. An object that is missing is looked for again with its row: it may have been collected in between.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from posthorn_model.errors import BlobNotFound, Unavailable
from posthorn_model.ids import AccountId, BlobKey
from posthorn_storage.blobs.content import decode
from posthorn_storage.blobs.store import object_key
from posthorn_storage.blobs.stores import Stores
from posthorn_storage.check.rules import ACCOUNT_RULES, QUEUE_RULE, Rule
from posthorn_storage.database import Database, Row

BATCH: Final = 100
"""Accounts, or blobs, looked at in one step."""
PARALLEL: Final = 8
MAX_FINDINGS: Final = 1000
"""Of one rule in one step; a step with more says so by having that many."""

ACCOUNTS = "SELECT account_id FROM account_counter WHERE account_id > $1 ORDER BY account_id LIMIT $2"

BLOBS = """
SELECT key, size, encoding, inline, object, store FROM blob
WHERE state = 1 AND key > $1 AND ($3 OR inline IS NULL) ORDER BY key LIMIT $2
"""

COUNT = """
SELECT (SELECT count(*) FROM account_counter) AS accounts,
       (SELECT count(*) FROM blob WHERE state = 1 AND ($1 OR inline IS NULL)) AS blobs
"""

STILL_LIVE = "SELECT EXISTS (SELECT FROM blob WHERE key = $1 AND state = 1 AND object IS NOT DISTINCT FROM $2)"

MISSING = Rule("blob-missing", "a durable blob has no object in the blob store (law 3)", "")
DAMAGED = Rule("blob-damaged", "the stored content of a blob is not the content its key is the hash of", "")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that breaks a rule; `account` is None where none is concerned."""

    rule: Rule
    account: AccountId | None
    where: Mapping[str, Any]
    """Ids and figures, by the names of the rule's columns."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step looked at, and what it found."""

    looked_at: int
    findings: Sequence[Finding]


class Check:
    """See the module. All methods raise Unavailable, Overloaded."""

    def __init__(self, database: Database, stores: Stores) -> None:
        self._database = database
        self._stores = stores

    async def account(self, account: AccountId) -> Step:
        """All rules of one account."""
        return await self._look([account])

    async def accounts(self) -> AsyncIterator[Step]:
        """All rules of every account, some accounts at a time."""
        last = 0
        while found := [row["account_id"] for row in await self._database.fetch(ACCOUNTS, last, BATCH)]:
            yield await self._look(found)
            last = found[-1]

    async def queue(self) -> Step:
        """The messages that wait in the outgoing queue."""
        rows = await self._database.fetch(f"{QUEUE_RULE.statement} LIMIT {MAX_FINDINGS}")
        return Step(1, [_finding(QUEUE_RULE, row) for row in rows])

    async def blobs(self, *, content: bool) -> AsyncIterator[Step]:
        """Every durable blob has its object; with `content` it is read whole and compared with its hash."""
        last = b""
        while rows := await self._database.fetch(BLOBS, last, BATCH, content):
            last = rows[-1]["key"]
            slots = asyncio.Semaphore(PARALLEL)

            async def look(row: Row, slots: asyncio.Semaphore = slots) -> Finding | None:
                async with slots:
                    return await self._look_at_blob(row, content=content)

            found = await asyncio.gather(*map(look, rows))
            yield Step(len(rows), [finding for finding in found if finding is not None])

    async def count(self, *, content: bool) -> tuple[int, int]:
        """How many accounts and blobs `accounts` and `blobs` will look at, about."""
        row = await self._database.fetchrow(COUNT, content)
        assert row is not None
        return row["accounts"], row["blobs"]

    async def _look(self, accounts: Sequence[AccountId]) -> Step:
        findings: list[Finding] = []
        async with self._database.transaction(isolation="repeatable_read", read_only=True) as connection:
            for rule in ACCOUNT_RULES:
                rows = await connection.fetch(f"{rule.statement} LIMIT {MAX_FINDINGS}", accounts)
                findings += [_finding(rule, row) for row in rows]
        return Step(len(accounts), findings)

    async def _look_at_blob(self, row: Row, *, content: bool) -> Finding | None:
        key = BlobKey(row["key"])
        stored = row["inline"]
        try:
            if stored is None and content:
                stored = await self._stores.of(row["store"]).get(object_key(key, row["object"]))
            elif stored is None:
                await self._stores.of(row["store"]).get_range(object_key(key, row["object"]), 0, 1)
        except BlobNotFound:
            return await self._finding_of_blob(MISSING, row)
        if not content:
            return None
        try:
            await asyncio.to_thread(decode, stored, row["encoding"], row["size"], key)
        except Unavailable:
            return await self._finding_of_blob(DAMAGED, row)
        return None

    async def _finding_of_blob(self, rule: Rule, row: Row) -> Finding | None:
        if not await self._database.fetchval(STILL_LIVE, row["key"], row["object"]):
            return None
        return Finding(rule, None, {"blob": row["key"].hex(), "size": row["size"]})


def _finding(rule: Rule, row: Row) -> Finding:
    where = dict(row)
    account = where.pop("account_id")
    return Finding(rule, AccountId(account) if account else None, where)
