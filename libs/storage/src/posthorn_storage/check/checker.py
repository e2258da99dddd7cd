"""Walks accounts, what they share, and blobs, and tells what breaks a rule. It may run at any time.

It changes nothing, but by `repair` and its like, which are for somebody who has read what was found.

Rows are read in snapshots of a bounded number of accounts, so that writers are not held up and what they do meanwhile
is no finding.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from posthorn_model.ids import AccountId
from posthorn_storage.blobs.stores import Stores
from posthorn_storage.check import repair_sql
from posthorn_storage.check.blob_content import look_at_blobs
from posthorn_storage.check.history_rules import HISTORY_RULES, HOME_RULES
from posthorn_storage.check.repairs import HOME_REPAIRS, REPAIRS, SUM_REPAIRS, Repair
from posthorn_storage.check.rules import ACCOUNT_RULES, Finding, Rule
from posthorn_storage.check.shared_rules import BLOB_RULES, DATABASE_RULES
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.mail.identifiers import MessageIds
from posthorn_storage.mail.journal import Journal, Units

BATCH: Final = 100
"""Accounts, or blobs, looked at in one step."""
MAX_FINDINGS: Final = 1000
"""Of one rule in one step; a step with more says so by having that many."""

# Rows of accounts that live elsewhere are on their way in or out.
ACCOUNTS = """
SELECT account_id FROM account_counter WHERE account_id > $1 AND state <> 2 ORDER BY account_id LIMIT $2
"""

# PostgreSQL before 18 has no max(bytea).
KEYS = """
SELECT key FROM (SELECT key FROM blob WHERE key > $1 ORDER BY key LIMIT $2) AS page ORDER BY key DESC LIMIT 1
"""
KEYS_AT_ONCE: Final = 1000
ABOVE_ALL_KEYS: Final = b"\xff" * 34

COUNT = """
SELECT (SELECT count(*) FROM account_counter WHERE state <> 2) AS accounts,
       (SELECT count(*) FROM blob WHERE state = 1 AND ($1 OR inline IS NULL)) AS blobs
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step looked at, and what it found."""

    looked_at: int
    findings: Sequence[Finding]


class Check:
    """See the module. `home`: the database has the directory and the queue. All raise Unavailable, Overloaded."""

    def __init__(self, database: Database, stores: Stores, *, home: bool = True) -> None:
        self._database = database
        self._stores = stores
        # What is repaired is seen by waiting clients at their next look of their own (design law 1).
        self._units = Units(database, MessageIds(), lambda _event: None)
        self._rules = (*ACCOUNT_RULES, *HISTORY_RULES, *(HOME_RULES if home else ()))
        self._shared_rules = DATABASE_RULES if home else ()
        self._repairs = {**REPAIRS, **(HOME_REPAIRS if home else {})}

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
        """What accounts share: the directory and the outgoing queue."""
        return Step(1, await self._findings(self._shared_rules))

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

    async def references(self) -> AsyncIterator[Step]:
        """Blobs and references agree, some blobs at a time."""
        last = b""
        while (until := await self._database.fetchval(KEYS, last, KEYS_AT_ONCE)) is not None:
            yield Step(1, await self._findings(BLOB_RULES, last, until))
            last = until
        yield Step(0, await self._findings(BLOB_RULES, last, ABOVE_ALL_KEYS))

    async def repair(self, account: AccountId) -> Mapping[str, int]:
        """Put right what can be put right of an account, under its lock; how many things, by rule.

        Raises AccountNotFound, AccountMoving.
        """
        done: dict[str, int] = {}
        for repairs in (SUM_REPAIRS, self._repairs, SUM_REPAIRS):
            for name, count in (await self._units.change([account], _all_of(repairs, account))).items():
                done[name] = done.get(name, 0) + count
        return {name: count for name, count in done.items() if count}

    async def repair_shared(self) -> Mapping[str, int]:
        """Put right what can be put right of the queue and of blobs; how many things, by rule."""
        statements = {
            "queue-unfinished": repair_sql.FINISH_QUEUE,
            "queue-blob": repair_sql.HOLD_QUEUE,
            "stray-queue-reference": repair_sql.LET_GO_QUEUE,
        }
        done = {name: await self._one(statement) for name, statement in statements.items()}
        last, leaked = b"", 0
        while (until := await self._database.fetchval(KEYS, last, KEYS_AT_ONCE)) is not None:
            leaked += await self._one(repair_sql.LIST_LEAKED, last, until)
            last = until
        done["leaked-blob"] = leaked
        return {name: count for name, count in done.items() if count}

    async def _one(self, statement: str, *arguments: object) -> int:
        async def work(connection: Connection) -> int:
            count: int = await connection.fetchval(statement, *arguments)
            return count

        return await self._database.run(work)

    async def count(self, *, content: bool) -> tuple[int, int]:
        """How many accounts and blobs `accounts` and `blobs` will look at, about."""
        row = await self._database.fetchrow(COUNT, content)
        assert row is not None
        return row["accounts"], row["blobs"]

    async def _look(self, accounts: Sequence[AccountId]) -> Step:
        return Step(len(accounts), await self._findings(self._rules, accounts))

    async def _findings(self, rules: Sequence[Rule], *arguments: object) -> list[Finding]:
        findings: list[Finding] = []
        async with self._database.transaction(isolation="repeatable_read", read_only=True) as connection:
            for rule in rules:
                rows = await connection.fetch(f"{rule.statement} LIMIT {MAX_FINDINGS}", *arguments)
                findings += [_finding(rule, row) for row in rows]
        return findings


def _finding(rule: Rule, row: Row) -> Finding:
    where = dict(row)
    account = where.pop("account_id")
    return Finding(rule, AccountId(account) if account else None, where)


def _all_of(repairs: Mapping[str, Repair], account: AccountId) -> Callable[[Journal], Awaitable[dict[str, int]]]:
    async def work(journal: Journal) -> dict[str, int]:
        done = {name: await repair(journal, account) for name, repair in repairs.items()}
        if any(done.values()):
            await journal.connection.execute(repair_sql.UNMARK, account)
        return done

    return work
