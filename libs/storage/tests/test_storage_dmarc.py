"""What is reported to owners of domains: summed up by day, bounded, sent once under a lease, forgotten in a month."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from posthorn_model.dmarc import AuthenticatedDomain, DmarcObservation, PublishedPolicy
from posthorn_model.errors import LeaseLost, Unavailable
from posthorn_model.ids import Epoch
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import Fence, Storage
from posthorn_storage.dmarc import DmarcStore, DmarcTally
from posthorn_storage.tally import MOST

POLICY = PublishedPolicy("example.org", "reject", "quarantine", "r", "s", 100, ("mailto:dmarc@example.org!1m",))
SEEN = DmarcObservation(
    POLICY, "192.0.2.1", "none", True, False, "example.org", "bounce@list.example",
    (AuthenticatedDomain("example.org", "pass", "s1"), AuthenticatedDomain("list.example", "fail", "s2")),
    (AuthenticatedDomain("list.example", "pass", "mfrom"),),
)  # fmt: skip
FENCE = Fence("role/reports.send", Epoch(1))


@pytest_asyncio.fixture
async def dmarc(storage: Storage) -> AsyncIterator[DmarcStore]:
    await storage.leases.acquire([FENCE.key], "me", 60)
    yield storage.dmarc
    await storage._database.execute("TRUNCATE dmarc_report, dmarc_result")


async def next_day(storage: Storage, days: int = 1) -> None:
    for table, more in (("dmarc_report", f", due = due - interval '{days} days 3 hours'"), ("dmarc_result", "")):
        await storage._database.execute(f"UPDATE {table} SET day = day - {days}{more}")


async def test_equal_messages_are_one_row_and_a_report_is_due_when_its_day_is_over(
    storage: Storage, dmarc: DmarcStore
) -> None:
    other = replace(SEEN, source="2001:db8::1", disposition="reject", override="local_policy")
    await dmarc.record({SEEN: 2, other: 1})
    await dmarc.record({SEEN: 3})
    assert await dmarc.due(10) == []
    await next_day(storage)
    (report,) = await dmarc.due(10)
    assert (report.published, report.failures) == (POLICY, 0)
    assert (datetime.now(UTC).date() - report.day) == timedelta(days=1)
    assert [(row.observation, row.count) for row in await dmarc.rows(report)] == [(SEEN, 5), (other, 1)]
    await dmarc.record({SEEN: 1})
    assert len(await dmarc.due(10)) == 1, "today has a report of its own"


async def test_the_last_policy_of_the_day_is_told(storage: Storage, dmarc: DmarcStore) -> None:
    await dmarc.record({SEEN: 1})
    later = replace(POLICY, policy="none", reports_to=("mailto:else@example.org",))
    await dmarc.record({replace(SEEN, published=later): 1})
    await next_day(storage)
    (report,) = await dmarc.due(10)
    assert report.published == later
    assert [row.count for row in await dmarc.rows(report)] == [2]


async def test_a_report_is_sent_once_together_with_its_end(storage: Storage, dmarc: DmarcStore) -> None:
    await dmarc.record({SEEN: 1})
    await next_day(storage)
    (report,) = await dmarc.due(10)
    blob = await storage.blobs.prepare(b"a report", queued=True)
    message = NewQueueMessage("", blob, [NewRecipient("dmarc@example.org", "example.org")])
    await dmarc.put_off(FENCE, report, "no answer\0", 0)
    (again,) = await dmarc.due(10)
    assert again.failures == 1
    for write in (
        dmarc.end(Fence(FENCE.key, Epoch(0)), report, "sent", message),
        dmarc.put_off(Fence(FENCE.key, Epoch(0)), report, "late", 0),
    ):
        with pytest.raises(LeaseLost):
            await write
    assert await storage.queue.messages() == []
    assert await dmarc.end(FENCE, report, "sent", message)
    assert not await dmarc.end(FENCE, report, "sent", message)
    assert len(await storage.queue.messages()) == 1
    assert await dmarc.due(10) == []
    assert await storage._database.fetchval("SELECT count(*) FROM dmarc_result") == 0


async def test_a_report_has_a_largest_size(storage: Storage, dmarc: DmarcStore) -> None:
    dmarc = DmarcStore(storage._database, storage.queue.enqueue_in, most=5)
    forged = {replace(SEEN, source=f"192.0.2.{number}"): 1 for number in range(1, 8)}
    await dmarc.record(forged)
    await dmarc.record({replace(SEEN, source="192.0.2.200"): 1})
    await dmarc.record(forged)
    await next_day(storage)
    (report,) = await dmarc.due(10)
    assert [row.count for row in await dmarc.rows(report)] == [2] * 5


async def test_what_is_old_goes(storage: Storage, dmarc: DmarcStore) -> None:
    await dmarc.record({SEEN: 1})
    await next_day(storage, 30)
    assert await dmarc.trim(100) == 0
    await next_day(storage)
    assert await dmarc.trim(100) == 2


async def test_sums_are_kept_until_the_database_takes_them(storage: Storage, dmarc: DmarcStore) -> None:
    class Away:
        async def record(self, counts: object) -> None:
            raise Unavailable

    tally = DmarcTally(Away())
    for _ in range(3):
        tally.add(SEEN)
    tally.add(replace(SEEN, published=replace(POLICY, reports_to=())))
    with pytest.raises(Unavailable):
        await tally.flush()
    await tally.close()
    tally._record = dmarc.record
    await tally.close()
    assert not tally._counts
    await next_day(storage)
    (report,) = await dmarc.due(10)
    assert [row.count for row in await dmarc.rows(report)] == [3]


async def test_a_flood_of_different_messages_fills_no_memory(dmarc: DmarcStore) -> None:
    tally = DmarcTally(dmarc)
    for number in range(MOST + 10):
        tally.add(replace(SEEN, envelope_from=f"{number}@example.net"))
    assert (len(tally._counts), tally.dropped) == (MOST, 10)
