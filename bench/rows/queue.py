"""The queue's protocol as smtp-out's workers use it: claim, intent, outcome, for batches of 20 on several shards."""

import asyncio
import hashlib
import itertools
import time

import asyncpg

from bench.rows import bare
from bench.runner import Row
from bench.stock import Stock
from posthorn_model.ids import BlobKey, Epoch
from posthorn_model.mail import PreparedBlob
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Outcome, RecipientState
from posthorn_storage.queue import Attempts, Claim, Finish, Start

RECIPIENTS = 12_000
BATCH = 20
SHARDS = 4
WORKERS = 6
"""Batches under way in each shard."""
_serial = itertools.count()


def _message(site: str, recipients: int) -> NewQueueMessage:
    n = next(_serial)
    content = b"message %d %d" % (n, time.time_ns())
    blob = PreparedBlob(BlobKey(hashlib.sha256(content).digest()), len(content), content, 0)
    return NewQueueMessage("ann@example.org", blob, [NewRecipient(f"r{n}.{m}@{site}", site) for m in range(recipients)])


def _sites(stock: Stock) -> dict[int, str]:
    """A site for each of SHARDS shards."""
    found: dict[int, str] = {}
    for n in itertools.count():
        site = f"site{n}.example.net"
        found.setdefault(stock.storage.queue.shard_of(site), site)
        if len(found) == SHARDS:
            return found
    raise AssertionError("there are always more names")


async def _fill(stock: Stock, sites: list[str], each: int) -> None:
    connection = await asyncpg.connect(stock.dsn)
    new = [_message(sites[n % SHARDS], each) for n in range(RECIPIENTS // each)]
    for first in range(0, len(new), 500):
        async with connection.transaction():
            await stock.storage.queue.enqueue_in(connection, new[first : first + 500])
    await connection.execute("VACUUM (ANALYZE) queue_recipient, queue_message, blob_ref, blob")
    await connection.close()


def rows(stock: Stock) -> list[Row]:
    """Messages of one recipient each, and of as many as a batch has."""
    return [_row(stock, each) for each in (1, BATCH)]


def _row(stock: Stock, each: int) -> Row:
    queue = stock.storage.queue
    attempts = Attempts(queue, 0.003)
    sites = _sites(stock)

    async def measure() -> float:
        await _fill(stock, list(sites.values()), each)
        held = await stock.storage.leases.acquire([f"queue/{shard}" for shard in sites], "bench", 600)

        claiming = {shard: asyncio.Lock() for shard in sites}

        async def attempt(shard: int, epoch: Epoch, busy: set[int]) -> bool:
            async with claiming[shard]:
                due = await attempts.claim(Claim(shard, epoch, BATCH, busy))
                ids = {row.id for row in due}
                busy |= ids
            if not due:
                return False
            started = await attempts.start(Start(ids, shard, epoch))
            outcomes = [
                Outcome(number, epoch, RecipientState.DELIVERED, "250 ok", "2.0.0", "mx", None, "TLSv1.3")
                for number in started
            ]
            await attempts.finish(Finish(outcomes, shard))
            busy -= ids
            return True

        async def worker(shard: int, epoch: Epoch, busy: set[int]) -> None:
            while await attempt(shard, epoch, busy):
                pass

        work = []
        for shard in sites:
            busy: set[int] = set()
            work += [worker(shard, held[f"queue/{shard}"], busy) for _ in range(WORKERS)]
        begun = time.perf_counter()
        await asyncio.gather(*work)
        taken = time.perf_counter() - begun
        return RECIPIENTS / taken

    async def reference() -> float:
        await _fill(stock, list(sites.values()), each)
        connections = {shard: await asyncpg.connect(stock.dsn) for shard in sites}

        async def worker(shard: int, connection: asyncpg.Connection) -> None:
            while due := await connection.fetch(bare.DUE, shard, BATCH):
                ids = [row["id"] for row in due]
                await connection.execute(bare.START, ids)
                await connection.execute(bare.FINISH, ids)

        begun = time.perf_counter()
        await asyncio.gather(*(worker(*pair) for pair in connections.items()))
        taken = time.perf_counter() - begun
        for connection in connections.values():
            await connection.close()
        return RECIPIENTS / taken

    name = f"queue: claim, start, finish, {each} a message"
    note = f"{SHARDS} shards, {WORKERS} batches of {BATCH} under way in each"
    return Row(name, "recipients/s", True, measure, reference, "bare, no lease, no log", 3, note)
