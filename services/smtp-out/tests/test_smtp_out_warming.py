"""Budgets of sources: by day and hour, of the whole cluster, and what becomes of mail beyond them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError

from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState
from posthorn_node.metrics import Metrics
from posthorn_smtp_out.figures import Figures
from posthorn_smtp_out.settings import SourceSettings, WarmUpSettings
from posthorn_smtp_out.warming import DAY, HOUR, Budget, Warming, budget
from posthorn_storage import Storage
from posthorn_testkit.sink import Sink

pytestmark = pytest.mark.postgres
FIRST = date(2026, 1, 5)
SCHEDULE = WarmUpSettings(since=FIRST, per_day=(5, 9, 20), per_hour=(2, 9))
MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC).timestamp()

Start = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture(autouse=True)
async def nothing_left(storage: Storage) -> AsyncIterator[None]:
    yield
    await storage._database.execute("DELETE FROM queue_warm_up")


@pytest.mark.parametrize(
    ("day", "found"),
    [
        (1, Budget(1, 5, 2)),
        (5, Budget(1, 5, 2)),
        (6, Budget(2, 9, 9)),
        (7, Budget(3, 20, None)),
        (8, Budget(4, None, None)),
    ],
)
def test_a_schedule_has_a_budget_for_each_day(day: int, found: Budget) -> None:
    assert budget(SCHEDULE, date(2026, 1, day)) == found


def test_a_schedule_says_something() -> None:
    with pytest.raises(ValidationError, match="per-day"):
        WarmUpSettings(since=FIRST)


async def test_processes_count_together_and_begin_anew_each_hour_and_day(storage: Storage) -> None:
    now = MIDNIGHT + 10.0
    sources = {"new": SourceSettings(warm_up=SCHEDULE), "old": SourceSettings()}
    one, other = (Warming(storage.queue.warm_up, sources, lambda: now, Figures(Metrics())) for _ in range(2))
    assert [await each.take("new") for each in (one, other)] == [None, None]
    spent = await one.take("new")
    assert spent is not None
    assert spent.seconds == pytest.approx(HOUR - 10)
    assert spent.reply.text == (
        "451 4.4.5 The warm-up budget of the source new is used up: 2 messages this hour, its day 1"
    )
    assert one.spent("new") is not None
    assert other.spent("new") is None, "it has not asked"
    assert await other.take("new") is not None
    assert await one.take("old") is None
    now += HOUR
    assert one.spent("new") is None
    assert [await each.take("new") for each in (one, other)] == [None, None]
    now += HOUR
    assert await one.take("new") is None
    spent = await one.take("new")
    assert spent is not None
    assert "5 messages today" in spent.reply.text
    assert spent.seconds == pytest.approx(DAY - 2 * HOUR - 10)
    assert await storage.queue.warm_up.take("new", int(MIDNIGHT // DAY) + 1, int(MIDNIGHT // HOUR) + 24, 9, 9)
    assert not await storage.queue.warm_up.take("new", int(MIDNIGHT // DAY), int(MIDNIGHT // HOUR), 5, 2)
    now += 30 * DAY
    assert await one.take("new") is None


async def test_mail_beyond_the_budget_waits_and_says_so(storage: Storage, sink: Sink, start: Start) -> None:
    now = datetime.now(UTC)
    today = now.date()
    new = {"addresses": ["127.0.0.1"], "warm_up": {"since": today, "per_day": [3]}}
    worker = await start(sources={"new": new}, source="new")
    worker.shards._parts.warming._now = now.timestamp  # the budget's day does not end before the test
    messages = []
    for number in range(8):
        blob = await storage.blobs.prepare(b"Message-ID: <%d@example.org>\r\n\r\ntext\r\n" % number)
        recipient = NewRecipient(f"u{number}@s{number}.example", f"s{number}.example", notify="NEVER")
        messages.append(await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, [recipient])))
    told = []
    async with asyncio.timeout(90):
        while len(told) < 5:
            lines = [await storage.queue.time_line(message) for message in messages]
            told = [line[-1].reply for line in lines if line[-1].kind == "postponed"]
        while (depth := await storage.queue.depth())[RecipientState.DELIVERED] < 3:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.05)  # those within the budget may still be on their way
    assert len(sink.mails) == 3
    assert depth[RecipientState.WAITING] == 5
    assert set(told) == {"451 4.4.5 The warm-up budget of the source new is used up: 3 messages today, its day 1"}
    (waiting,) = {
        each.due.date() for each in [m.recipients[0] for m in await storage.queue.messages()] if not each.attempt
    }
    assert (waiting - today).days == 1
