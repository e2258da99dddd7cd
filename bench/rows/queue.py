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

MESSAGES = 12_000
BATCH = 20
SHARDS = 4
WORKERS = 6
"""Batches under way in each shard."""
_serial = itertools.count()


def _message(site: str) -> NewQueueMessage:
    n = next(_serial)
    content = b"message %d %d" % (n, time.time_ns())
    blob = PreparedBlob(BlobKey(hashlib.sha256(content).digest()), len(content), content, 0)
    return NewQueueMessage("ann@example.org", blob, [NewRecipient(f"r{n}@{site}", site)])


def _sites(stock: Stock) -> dict[int, str]:
    """A site for each of SHARDS shards."""
    found: dict[int, str] = {}
    for n in itertools.count():
        site = f"site{n}.example.net"
        found.setdefault(stock.storage.queue.shard_of(site), site)
        if len(found) == SHARDS:
            return found
    raise AssertionError("there are always more names")


async def _fill(stock: Stock, sites: list[str]) -> None:
    connection = await asyncpg.connect(stock.dsn)
    new = [_message(sites[n % SHARDS]) for n in range(MESSAGES)]
    for first in range(0, MESSAGES, 500):
        async with connection.transaction():
            await stock.storage.queue.enqueue_in(connection, new[first : first + 500])
    await connection.execute("VACUUM (ANALYZE) queue_recipient, queue_message, blob_ref, blob")
    await connection.close()


def rows(stock: Stock) -> list[Row]:
    """The row."""
    queue = stock.storage.queue
    sites = _sites(stock)

    async def measure() -> float:
        await _fill(stock, list(sites.values()))
        held = await stock.storage.leases.acquire([f"queue/{shard}" for shard in sites], "bench", 600)

        async def attempt(shard: int, epoch: Epoch, busy: set[int]) -> bool:
            due = await queue.claim(shard, epoch, BATCH, exclude=busy)
            ids = {row.id for row in due} - busy
            if not due:
                return False
            busy |= ids
            started = await queue.start_attempts(ids, shard, epoch)
            outcomes = [
                Outcome(number, epoch, RecipientState.DELIVERED, "250 ok", "2.0.0", "mx", None, "TLSv1.3")
                for number in started
            ]
            await queue.finish(outcomes, shard)
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
        return MESSAGES / taken

    async def reference() -> float:
        await _fill(stock, list(sites.values()))
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
        return MESSAGES / taken

    note = f"{SHARDS} shards, {WORKERS} batches of {BATCH} under way in each, messages of one recipient"
    return [Row("queue: claim, start, finish", "recipients/s", True, measure, reference, "bare, no lease", 3, note)]
