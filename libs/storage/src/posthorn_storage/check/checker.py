"""Walks accounts, the queue and blobs, and tells what breaks a rule. It changes nothing and may run at any time.

Rows are read in snapshots of a bounded number of accounts, so that writers are not held up and what they do meanwhile
is no finding.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from posthorn_model.ids import AccountId
from posthorn_storage.blobs.stores import Stores
from posthorn_storage.check.blob_content import look_at_blobs
from posthorn_storage.check.rules import ACCOUNT_RULES, QUEUE_RULE, Finding, Rule
from posthorn_storage.database import Database, Row

BATCH: Final = 100
"""Accounts, or blobs, looked at in one step."""
MAX_FINDINGS: Final = 1000
"""Of one rule in one step; a step with more says so by having that many."""

ACCOUNTS = "SELECT account_id FROM account_counter WHERE account_id > $1 ORDER BY account_id LIMIT $2"

COUNT = """
SELECT (SELECT count(*) FROM account_counter) AS accounts,
       (SELECT count(*) FROM blob WHERE state = 1 AND ($1 OR inline IS NULL)) AS blobs
"""


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
        while True:
            looked = await look_at_blobs(self._database, self._stores, last, BATCH, content=content, inline=content)
            if looked.looked_at:
                yield Step(looked.looked_at, looked.findings)
            if not looked.last:
                return
            last = looked.last

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


def _finding(rule: Rule, row: Row) -> Finding:
    where = dict(row)
    account = where.pop("account_id")
    return Finding(rule, AccountId(account) if account else None, where)
