"""The mail store without any service: deliveries, lists, changes, flags. References: bare asyncpg in the same run."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import asyncpg

from bench.rows import bare
from bench.runner import Measure, Row
from bench.stock import Stock, new_messages
from posthorn_model.events import ChangeKind
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import AccountId, Modseq
from posthorn_model.mail import NewMessage
from posthorn_storage.mail.flags import FlagsOp

SINGLE = 200
BATCHED = 4_000
BATCH = 100
IN_FLIGHT = 400
FLAGGED = 10_000
FLAGGED_UIDS = range(1, FLAGGED + 1)
LISTED = 100_000
SINCE = Modseq(LISTED - 5)
RAISE = "UPDATE account_counter SET modseq = modseq + $2 WHERE account_id = $1"

SET_FLAGS = """
WITH changed AS (
    UPDATE mailbox_message SET flags = flags # 2, modseq = $3 + uid
    WHERE account_id = $1 AND mailbox_id = $2 AND uid <= $4 RETURNING message_id, modseq
)
INSERT INTO change_log (account_id, kind, modseq, object_id, op) SELECT $1, 2, modseq, message_id, 2 FROM changed
"""


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    await work()
    return time.perf_counter() - begun


async def best_of(count: int, work: Callable[[], Awaitable[Any]]) -> float:
    """The least time of several calls, in ms: what the work costs without the noise of a shared machine."""
    return min([await timed(work) for _ in range(count)]) * 1000


class Deliveries:
    """Rates of storing, ours and bare, into some accounts of a stock."""

    def __init__(self, stock: Stock, accounts: Sequence[AccountId]) -> None:
        self._stock = stock
        self._accounts = list(accounts)

    async def single(self) -> float:
        """One delivery for each commit, one after the other."""
        new = await new_messages(self._stock.storage, self._accounts, SINGLE)
        begun = time.perf_counter()
        for one in new:
            await self._stock.storage.mail.deliver(one)
        return SINGLE / (time.perf_counter() - begun)

    async def batched(self) -> float:
        """BATCH deliveries for each commit, one commit after the other."""
        new = await new_messages(self._stock.storage, self._accounts, BATCHED)
        begun = time.perf_counter()
        for first in range(0, BATCHED, BATCH):
            await self._stock.storage.mail.append(new[first : first + BATCH])
        return BATCHED / (time.perf_counter() - begun)

    async def concurrent(self) -> float:
        """IN_FLIGHT deliveries always under way; the combiner groups them."""
        new = iter(await new_messages(self._stock.storage, self._accounts, BATCHED))

        async def session() -> None:
            for one in new:
                await self._stock.storage.mail.deliver(one)

        begun = time.perf_counter()
        await asyncio.gather(*(session() for _ in range(IN_FLIGHT)))
        return BATCHED / (time.perf_counter() - begun)

    async def lone(self) -> float:
        """Milliseconds of one delivery when nothing else happens, at the median."""
        new = await new_messages(self._stock.storage, self._accounts, 60)
        taken = []
        for one in new:
            await asyncio.sleep(0.005)
            taken.append(await timed(lambda one=one: self._stock.storage.mail.deliver(one)))  # type: ignore[misc]
        return sorted(taken)[len(taken) // 2] * 1000

    async def lone_bare(self) -> float:
        """The same by the bare statement."""
        new = await new_messages(self._stock.storage, self._accounts, 60)
        connection = await asyncpg.connect(self._stock.dsn)
        taken = []
        for one in new:
            prepared = bare.columns([one])
            await asyncio.sleep(0.005)
            taken.append(await timed(lambda one=one, p=prepared: bare.store(connection, [one], p)))  # type: ignore[misc]
        await connection.close()
        return sorted(taken)[len(taken) // 2] * 1000

    def bare(self, size: int, count: int, connections: int = 1) -> Measure:
        """The bare statement, `size` messages for each commit."""

        async def measure() -> float:
            new = await new_messages(self._stock.storage, self._accounts, count)
            batches = iter([(b, bare.columns(b)) for b in _batches(new, size)])
            opened = [await asyncpg.connect(self._stock.dsn) for _ in range(connections)]

            async def work(connection: asyncpg.Connection) -> None:
                for batch, prepared in batches:
                    await bare.store(connection, batch, prepared)

            begun = time.perf_counter()
            await asyncio.gather(*map(work, opened))
            taken = time.perf_counter() - begun
            for connection in opened:
                await connection.close()
            return count / taken

        return measure


def _batches(new: Sequence[NewMessage], size: int) -> list[Sequence[NewMessage]]:
    return [new[first : first + size] for first in range(0, len(new), size)]


def delivery_rows(stock: Stock) -> list[Row]:
    """Deliveries to many accounts, and to one."""
    many = Deliveries(stock, stock.accounts)
    hot = Deliveries(stock, stock.accounts[:1])
    said = "one transaction: lock the counters, one statement for the same rows; arrays prepared"
    return [
        Row("delivery, 1 for each commit", "/s", True, many.single, many.bare(1, SINGLE), "bare asyncpg", 3, said),
        Row("100 for each commit, against 1", "/s", True, many.batched, many.single, "1 for each commit", 5),
        Row("delivery, 100 for each commit", "/s", True, many.batched, many.bare(BATCH, BATCHED), "bare asyncpg"),
        Row(
            f"delivery, {IN_FLIGHT} under way",
            "/s",
            True,
            many.concurrent,
            many.bare(BATCH, BATCHED, 2),
            "bare, 2 connections",
        ),
        Row(
            f"one hot mailbox, {IN_FLIGHT} under way",
            "/s",
            True,
            hot.concurrent,
            hot.bare(BATCH, BATCHED),
            "bare asyncpg",
        ),
        Row(
            "lone delivery, nothing else under way",
            "ms",
            False,
            many.lone,
            many.lone_bare,
            "bare asyncpg, no window",
            3,
        ),
    ]


class Listing:
    """What is read and flagged in one account with LISTED messages, ours and bare."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._mail = stock.storage.mail
        self._account = stock.accounts[0]
        self._ops: Iterator[FlagsOp] = itertools.cycle(("add", "remove"))

    def bare(self, query: str, *arguments: object) -> Measure:
        """A query whose first argument is the account and the last the mailbox."""

        async def measure() -> float:
            box = await self._stock.inbox(self._account)
            connection = await asyncpg.connect(self._stock.dsn)
            taken = await best_of(5, lambda: connection.fetch(query, self._account, *arguments, box))
            await connection.close()
            return taken

        return measure

    async def uids(self) -> float:
        """All UIDs of the mailbox."""
        box = await self._stock.inbox(self._account)
        return await best_of(5, lambda: self._mail.uids(self._account, box))

    async def view(self) -> float:
        """UID, message, flags and modseq of each message."""
        box = await self._stock.inbox(self._account)
        return await best_of(5, lambda: self._mail.view(self._account, box))

    async def view_since(self) -> float:
        """What changed since a state of long ago, which is a few messages."""
        box = await self._stock.inbox(self._account)
        return await best_of(50, lambda: self._mail.view(self._account, box, SINCE))

    async def changes(self) -> float:
        """The same as JMAP asks for it."""
        return await best_of(50, lambda: self._mail.changes(self._account, ChangeKind.EMAIL, SINCE, 100))

    async def set_flags(self) -> float:
        """Set a flag of FLAGGED messages, or take it away."""
        box = await self._stock.inbox(self._account)
        op = next(self._ops)
        return await best_of(
            1, lambda: self._mail.set_flags(self._account, box, FLAGGED_UIDS, op=op, system=SystemFlag.FLAGGED)
        )

    async def set_flags_bare(self) -> float:
        """The same change of rows, and of the log."""
        box = await self._stock.inbox(self._account)
        state = await self._mail.state(self._account)
        connection = await asyncpg.connect(self._stock.dsn)

        async def work() -> None:
            async with connection.transaction():
                await connection.execute(RAISE, self._account, FLAGGED)
                await connection.execute(SET_FLAGS, self._account, box, state, FLAGGED)

        taken = await best_of(1, work)
        await connection.close()
        return taken


def reading_rows(stock: Stock) -> list[Row]:
    """Lists and changes of one large mailbox; its flags last, for they make it change."""
    listing = Listing(stock)
    ours = "account_id = $1 AND mailbox_id = $"
    columns = "uid, message_id, flags, keywords, modseq"
    uids = f"SELECT uid FROM mailbox_message WHERE {ours}2 ORDER BY uid"
    whole = f"SELECT {columns} FROM mailbox_message WHERE {ours}2 ORDER BY uid"
    since = f"SELECT {columns} FROM mailbox_message WHERE modseq > $2 AND {ours}3 ORDER BY uid"
    log = (
        "SELECT modseq, object_id, op FROM change_log WHERE account_id = $1 AND kind = 2 AND modseq > $2 AND $3 > 0 "
        "ORDER BY modseq LIMIT 100"
    )
    size = f"{LISTED:,}"
    select, note = "bare SELECT", "every message gets a modseq and an entry in the log of its own"
    return [
        Row(f"UID list of {size}", "ms", False, listing.uids, listing.bare(uids), select),
        Row(f"whole view of {size}", "ms", False, listing.view, listing.bare(whole), select),
        Row(f"view since a modseq, of {size}", "ms", False, listing.view_since, listing.bare(since, SINCE), select),
        Row(f"changes since a modseq, of {size}", "ms", False, listing.changes, listing.bare(log, SINCE), select),
        Row(
            f"flag change of {FLAGGED:,}",
            "ms",
            False,
            listing.set_flags,
            listing.set_flags_bare,
            "bare UPDATE and log",
            5,
            note,
        ),
    ]
