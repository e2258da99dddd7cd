"""What operators do to queued mail, and what pauses do: what is stopped is not claimed, and none of it is forgotten."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from posthorn_model.errors import InvalidName, NotFound, TooMany
from posthorn_model.ids import AccountId, Epoch, QueueMessageId
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Outcome, RecipientState
from posthorn_storage import Storage
from posthorn_storage.queue import QueueFilter, Standing

pytestmark = pytest.mark.postgres
SITE = "example.net"


@pytest.fixture
def shard(storage: Storage) -> int:
    return storage.queue.shard_of(SITE)


@pytest_asyncio.fixture
async def epoch(storage: Storage, shard: int) -> Epoch:
    return (await storage.leases.acquire([f"queue/{shard}"], "me", 3600))[f"queue/{shard}"]


@pytest_asyncio.fixture(autouse=True)
async def no_pauses_left(storage: Storage) -> AsyncIterator[None]:
    yield
    await storage._database.execute("DELETE FROM queue_pause")


async def enqueue(storage: Storage, *names: str, sender: str = "ann@example.org", site: str = SITE) -> QueueMessageId:
    blob = await storage.blobs.prepare(b"Subject: hello\r\n\r\nhello\r\n")
    recipients = [NewRecipient(f"{name}@{site}", site) for name in names or ("bob",)]
    return await storage.queue.enqueue(NewQueueMessage(sender, blob, recipients, account=AccountId(7)))


async def standings(storage: Storage, message: QueueMessageId) -> list[str]:
    return [each.standing.value for each in (await storage.queue.show(message)).recipients]


async def claimed(storage: Storage, shard: int, epoch: Epoch) -> list[str]:
    return [due.address.partition("@")[0] for due in await storage.queue.claim(shard, epoch, 100)]


async def test_held_recipients_are_not_claimed_until_they_are_released(
    storage: Storage, shard: int, epoch: Epoch
) -> None:
    message = await enqueue(storage, "a", "b", "c")
    apply = storage.queue.operations.apply
    before = await storage.queue.show(message)
    done = await apply("hold", QueueFilter(message=message, number=before.recipients[1].id), note="a look\nat it")
    assert (done.recipients, done.shards) == (1, [shard])
    assert await standings(storage, message) == ["waiting", "held", "waiting"]
    assert await claimed(storage, shard, epoch) == ["a", "c"]
    assert (await apply("hold", QueueFilter(message=message))).recipients == 2, "what is held already is left alone"
    assert await claimed(storage, shard, epoch) == []
    assert await storage.queue.overdue() == 0.0
    assert (await storage.queue.standings())[Standing.HELD] == 3
    assert (await apply("release", QueueFilter(message=message))).recipients == 3
    assert await storage.queue.show(message) == before
    assert await claimed(storage, shard, epoch) == ["a", "b", "c"]
    line = await storage.queue.time_line(message)
    assert [event.kind for event in line] == ["queued", *["held"] * 3, *["released"] * 3]
    assert [event.reply for event in line if event.kind == "held"] == ["a look at it", "", ""]


async def test_what_is_held_after_its_claim_is_not_started(storage: Storage, shard: int, epoch: Epoch) -> None:
    message = await enqueue(storage, "a", "b")
    due = await storage.queue.claim(shard, epoch, 10)
    await storage.queue.operations.apply("hold", QueueFilter(number=due[0].id))
    assert await storage.queue.start_attempts([each.id for each in due], shard, epoch) == {due[1].id}
    assert (await storage.queue.operations.apply("hold", QueueFilter(message=message))).recipients == 0, "in flight"
    told = Outcome(due[1].id, epoch, RecipientState.DELIVERED, "250 ok", "2.0.0", "mx")
    assert await storage.queue.finish([told], shard) == 1
    shown = await storage.queue.show(message)
    assert (shown.done_at, await standings(storage, message)) == (None, ["held", "delivered"])
    assert (await storage.queue.operations.apply("cancel", QueueFilter(message=message))).recipients == 1
    shown = await storage.queue.show(message)
    assert shown.done_at is not None
    assert shown.recipients[0].parked is None


async def test_rescheduling_keeps_what_is_held(storage: Storage, shard: int, epoch: Epoch) -> None:
    message = await enqueue(storage, "a", "b")
    apply, later = storage.queue.operations.apply, datetime(2100, 1, 1, tzinfo=UTC)
    first, _ = (await storage.queue.show(message)).recipients
    await apply("hold", QueueFilter(number=first.id))
    assert (await apply("reschedule", QueueFilter(message=message), at=later)).recipients == 2
    held, waiting = (await storage.queue.show(message)).recipients
    assert (held.standing, held.resume_due, waiting.due) == (Standing.HELD, later, later)
    assert (await apply("reschedule", QueueFilter(message=message))).recipients == 2
    await apply("release", QueueFilter(message=message))
    assert sorted(await claimed(storage, shard, epoch)) == ["a", "b"]


async def test_a_filter_is_counted_and_then_done_in_batches(storage: Storage, shard: int, epoch: Epoch) -> None:
    mine = [await enqueue(storage, "a", "b", "c", sender="ann@shop.example") for _ in range(5)]
    other = await enqueue(storage, "a")
    wanted = QueueFilter(sender="@shop.example", site=SITE)
    meant = await storage.queue.operations.meant(wanted)
    assert (meant.recipients, meant.messages, meant.in_flight) == (15, 5, 0)
    due = next(each for each in await storage.queue.claim(shard, epoch, 100) if each.message == mine[0])
    await storage.queue.start_attempts([due.id], shard, epoch)
    assert (await storage.queue.operations.meant(wanted)).in_flight == 1
    done = await storage.queue.operations.apply("cancel", wanted, batch=4)
    assert done.recipients == 14
    assert await claimed(storage, shard, epoch) == ["a"]
    assert [m.id for m in await storage.queue.messages()] == [other, mine[0]]
    assert (await storage.queue.operations.meant(wanted)).recipients == 1
    assert (await storage.check.queue()).findings == []


FILTERS = [
    (QueueFilter(), 3),
    (QueueFilter(recipient="bob@"), 1),
    (QueueFilter(site="other.example"), 1),
    (QueueFilter(state=Standing.HELD), 1),
    (QueueFilter(state=Standing.WAITING), 2),
    (QueueFilter(state=Standing.PAUSED), 0),
    (QueueFilter(state=Standing.IN_FLIGHT), 0),
    (QueueFilter(state=RecipientState.WAITING), 3),
    (QueueFilter(older=3600.0), 1),
    (QueueFilter(account=AccountId(7)), 3),
    (QueueFilter(account=AccountId(8)), 0),
    (QueueFilter(sender="eve@"), 1),
    (QueueFilter(sender="%"), 0),
]


async def test_a_filter_means_the_same_to_lists_and_to_operations(storage: Storage) -> None:
    await enqueue(storage, "bob")
    await enqueue(storage, "carol", site="other.example", sender="eve@example.org")
    await enqueue(storage, "dave")
    await storage.queue.operations.apply("hold", QueueFilter(recipient="dave@"))
    old = "UPDATE queue_message SET created_at = now() - interval '2 hours' WHERE sender LIKE 'eve%'"
    await storage._database.execute(old)
    for wanted, count in FILTERS:
        assert len(await storage.queue.messages(wanted)) == count, wanted
        assert (await storage.queue.operations.meant(wanted)).messages == count, wanted


async def test_a_pause_parks_and_lets_go(storage: Storage, shard: int, epoch: Epoch) -> None:
    pauses = storage.queue.pauses
    message = await enqueue(storage, "a", "b")
    due = await storage.queue.claim(shard, epoch, 10)
    pause = await pauses.put("site", SITE, "their\r\nwish")
    assert (pause.reason, pause.lifted, pause.until) == ("their wish", False, None)
    assert await pauses.park(shard, Epoch(epoch - 1), {due[0].id: pause.id}) == 0, "an owner of the past"
    assert await pauses.park(shard, epoch, {each.id: pause.id for each in due}) == 2
    assert await pauses.park(shard, epoch, {each.id: pause.id for each in due}) == 0
    assert await standings(storage, message) == ["paused", "paused"]
    assert await claimed(storage, shard, epoch) == []
    assert await pauses.stopped() == {pause.id: 2}
    counts = await storage.queue.standings()
    assert (counts[Standing.PAUSED], counts[Standing.WAITING], counts[Standing.HELD]) == (2, 0, 0)
    assert await pauses.resume() == {}, "it stands"
    again = await pauses.put("site", SITE, "another reason", seconds=3600)
    assert (again.id, again.reason) == (pause.id, "another reason")
    await storage.queue.operations.apply("hold", QueueFilter(number=due[0].id))
    await pauses.lift("site", SITE)
    assert [each.lifted for each in await pauses.all()] == [True]
    assert await pauses.resume(limit=1) == {shard: 1}
    assert await pauses.resume() == {}
    assert await pauses.all() == []
    assert await standings(storage, message) == ["held", "waiting"], "who was held in the meantime stays so"
    with pytest.raises(NotFound):
        await pauses.lift("site", SITE)


async def test_nobody_parks_under_a_pause_that_is_over(storage: Storage, shard: int, epoch: Epoch) -> None:
    """The row of the pause goes only when nothing is parked by it, also when both happen at once."""
    for _ in range(10):
        message = await enqueue(storage, "a", "b", "c")
        due = await storage.queue.claim(shard, epoch, 10)
        pause = await storage.queue.pauses.put("site", SITE, "")

        async def over() -> None:
            await storage.queue.pauses.lift("site", SITE)
            while await storage.queue.pauses.all():
                await storage.queue.pauses.resume(limit=2)

        await asyncio.gather(over(), *(storage.queue.pauses.park(shard, epoch, {each.id: pause.id}) for each in due))
        assert await storage.queue.pauses.park(shard, epoch, {due[0].id: pause.id}) == 0
        while await storage.queue.pauses.resume():
            pass
        assert await standings(storage, message) == ["waiting"] * 3
        assert await storage.queue.cancel(message) == 3


async def test_a_pause_ends_by_itself(storage: Storage, shard: int, epoch: Epoch) -> None:
    message = await enqueue(storage)
    pause = await storage.queue.pauses.put("route", "relay.example.net:25", "", seconds=3600)
    assert await storage.queue.pauses.park(
        shard, epoch, {(await storage.queue.show(message)).recipients[0].id: pause.id}
    )
    await storage._database.execute("UPDATE queue_pause SET until = now() - interval '1 s'")
    assert [each.lifted for each in await storage.queue.pauses.all()] == [True]
    assert await storage.queue.pauses.resume() == {shard: 1}
    assert await claimed(storage, shard, epoch) == ["bob"]


async def test_an_attempt_in_doubt_is_parked_as_such(storage: Storage, shard: int, epoch: Epoch) -> None:
    message = await enqueue(storage)
    [due] = await storage.queue.claim(shard, epoch, 10)
    await storage.queue.start_attempts([due.id], shard, epoch)
    pause = await storage.queue.pauses.put("site", SITE, "")
    assert await storage.queue.pauses.park(shard, epoch, {due.id: pause.id}) == 0, "it is in flight"
    await storage._database.execute("UPDATE lease SET until = now() WHERE key = $1", f"queue/{shard}")
    epoch = (await storage.leases.acquire([f"queue/{shard}"], "other", 3600))[f"queue/{shard}"]
    await storage._database.execute("UPDATE queue_recipient SET since = now() - interval '1 minute'")
    assert await storage.queue.pauses.park(shard, epoch, {due.id: pause.id}) == 1
    await storage.queue.pauses.lift("site", SITE)
    await storage.queue.pauses.resume()
    [again] = await storage.queue.claim(shard, epoch, 10)
    assert (again.id, again.in_doubt) == (due.id, True)
    assert [e.kind for e in await storage.queue.time_line(message)] == ["queued", "in-doubt", "paused", "resumed"]


async def test_pauses_are_named_and_bounded(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = storage.queue.pauses
    for scope, name in (("everything", "x"), ("site", ""), ("route", "x" * 301)):
        with pytest.raises(InvalidName):
            await pauses.put(scope, name, "")  # type: ignore[arg-type]
    monkeypatch.setattr("posthorn_storage.queue.pauses.MAX_PAUSES", 2)
    for name in ("a.example", "b.example"):
        await pauses.put("site", name, "")
    with pytest.raises(TooMany):
        await pauses.put("site", "c.example", "")


async def test_a_claim_does_not_look_at_what_is_stopped(storage: Storage, shard: int, epoch: Epoch) -> None:
    """However many recipients are stopped: the index on due times ends before them."""
    message = await enqueue(storage, *(f"u{n}" for n in range(300)))
    await storage.queue.operations.apply("hold", QueueFilter(message=message))
    wanted = await enqueue(storage, "bob")
    await storage._database.execute("ANALYZE queue_recipient")
    looked = "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) SELECT id FROM queue_recipient"
    plan = await storage._database.fetch(f"{looked} WHERE shard = {shard} AND due <= now() ORDER BY due LIMIT 10")
    text = "\n".join(row[0] for row in plan)
    assert "Rows Removed" not in text
    assert "rows=1 " in text or "rows=1.00" in text
    assert [due.message for due in await storage.queue.claim(shard, epoch, 10)] == [wanted]
