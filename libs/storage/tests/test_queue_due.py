"""What is due is found by an index that no attempt touches until its end, and what is closed is never in the way."""

import asyncpg
import pytest

from posthorn_model.ids import Epoch
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Outcome, RecipientState
from posthorn_storage import Storage
from posthorn_storage.database import Connection
from posthorn_storage.migrate import migrate
from posthorn_storage.queue import QueueFilter, sql
from posthorn_storage.queue.attempts import Start, fence_columns, start_columns

pytestmark = pytest.mark.postgres
SITE = "example.net"
WITHOUT_INDEXES = "SELECT pg_stat_get_xact_tuples_hot_updated('queue_recipient'::regclass)"
BEFORE = "SELECT id FROM queue_recipient WHERE shard = {} AND state IN (0, 1) AND due <= now() ORDER BY due LIMIT 10"
"""As the version before asks."""
OLD_ROWS = """
WITH m AS (
    INSERT INTO queue_message (sender, blob_key, size, smtputf8, eight_bit) VALUES ('', '', 1, false, false)
    RETURNING id
)
INSERT INTO queue_recipient (message_id, shard, due, state, site, address, priority)
SELECT m.id, 1, now(), n % 5, '', '', n % 2 FROM m, generate_series(0, 9) AS n
"""


async def enqueue(storage: Storage, count: int) -> tuple[int, Epoch]:
    """A message to so many; returns the shard, and the epoch under which this test owns it."""
    blob = await storage.blobs.prepare(b"Subject: hello\r\n\r\nhello\r\n")
    recipients = [NewRecipient(f"u{n}@{SITE}", SITE) for n in range(count)]
    await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, recipients))
    shard = storage.queue.shard_of(SITE)
    return shard, (await storage.leases.acquire([f"queue/{shard}"], "me", 3600))[f"queue/{shard}"]


async def test_the_start_of_an_attempt_writes_no_index(storage: Storage) -> None:
    shard, epoch = await enqueue(storage, 20)
    starts = [Start([due.id for due in await storage.queue.claim(shard, epoch, 20)], shard, epoch)]

    async def work(connection: Connection) -> tuple[int, int]:
        rows = await connection.fetch(sql.START, *fence_columns(starts), *start_columns(starts), 10.0, 3600.0)
        return len(rows), await connection.fetchval(WITHOUT_INDEXES)

    assert await storage._database.run(work) == (20, 20)


async def test_a_claim_does_not_look_at_what_is_closed(storage: Storage) -> None:
    shard, epoch = await enqueue(storage, 300)
    due = await storage.queue.claim(shard, epoch, 290)
    started = await storage.queue.start_attempts([each.id for each in due], shard, epoch)
    ends = [Outcome(one, epoch, RecipientState.DELIVERED, "250 ok", "2.0.0", "", None, None) for one in started]
    assert await storage.queue.finish(ends[:200], shard) == 200
    failed = [Outcome(end.recipient, epoch, RecipientState.FAILED, "", "", "", None, None) for end in ends[200:]]
    assert await storage.queue.finish(failed, shard) == 90
    await storage._database.execute("ANALYZE queue_recipient")

    async def explained(connection: Connection) -> str:
        await connection.execute("SET LOCAL enable_seqscan = off")
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) {BEFORE.format(shard)}")
        return "\n".join(row[0] for row in rows)

    plan = await storage._database.run(explained)
    assert "ix_queue_recipient_open" in plan
    assert "Rows Removed" not in plan
    assert len(await storage.queue.claim(shard, epoch, 100)) == 10
    await storage.queue.operations.apply("cancel", QueueFilter(site=SITE))
    assert await storage._database.fetchval("SELECT count(*) FROM queue_recipient WHERE due IS NOT NULL") == 0
    assert await storage.queue.next_due(shard) is None


async def test_what_the_version_before_closed_is_taken_out_of_the_way(storage: Storage) -> None:
    shard, epoch = await enqueue(storage, 5)
    await storage._database.execute(
        "UPDATE queue_recipient SET state = 2 WHERE id IN (SELECT id FROM queue_recipient ORDER BY id LIMIT 3)"
    )
    assert await storage.queue.settle(shard, Epoch(epoch - 1)) == 0
    assert await storage.queue.settle(shard, epoch) == 3
    assert await storage.queue.settle(shard, epoch) == 0
    assert len(await storage.queue.claim(shard, epoch, 10)) == 2


async def test_what_is_open_is_due_at_some_time(storage: Storage) -> None:
    """Otherwise nobody would ever try it."""
    await enqueue(storage, 1)
    for state in (0, 1):
        with pytest.raises(asyncpg.CheckViolationError):
            await storage._database.execute("UPDATE queue_recipient SET due = NULL, state = $1", state)


async def test_what_was_closed_before_the_migration_is_due_no_more(bare_postgres_dsn: str) -> None:
    await migrate(bare_postgres_dsn, to="0045")
    connection = await asyncpg.connect(bare_postgres_dsn)
    try:
        await connection.execute(OLD_ROWS)
        await migrate(bare_postgres_dsn)
        rows = await connection.fetch("SELECT due IS NULL AS closed, state FROM queue_recipient")
    finally:
        await connection.close()
    assert len(rows) == 10
    assert all(row["closed"] == (row["state"] > 1) for row in rows)
