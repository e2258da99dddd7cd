"""The outgoing queue: intent before the final dot, outcomes under the shard's epoch, nothing for owners of the past."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import pytest_asyncio

from posthorn_model.errors import BlobNotFound, InvalidContent, NotFound
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.ids import AccountId, Epoch, QueueMessageId
from posthorn_model.mail import MessageSummary, NewMessage
from posthorn_model.queue_items import (
    NO_TERMS,
    DueRecipient,
    NewQueueMessage,
    NewRecipient,
    Outcome,
    RecipientState,
    Terms,
)
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.database import Connection
from posthorn_storage.queue import QueueFilter

pytestmark = pytest.mark.postgres
CONTENT = b"Subject: hello\r\n\r\nhello\r\n"
SITE = "example.net"
LONG_AGO = "UPDATE queue_recipient SET since = now() - interval '1 minute' WHERE state = 1"


@pytest.fixture
def shard(storage: Storage) -> int:
    return storage.queue.shard_of(SITE)


@pytest_asyncio.fixture
async def epoch(storage: Storage, shard: int) -> Epoch:
    return (await storage.leases.acquire([f"queue/{shard}"], "me", 3600))[f"queue/{shard}"]


async def take_over(storage: Storage, shard: int) -> Epoch:
    """Another owner takes the shard, as after the death of the first."""
    await storage._database.execute("UPDATE lease SET until = now() WHERE key = $1", f"queue/{shard}")
    return (await storage.leases.acquire([f"queue/{shard}"], "other", 3600))[f"queue/{shard}"]


async def test_what_an_owner_left_in_flight_is_in_doubt_when_it_takes_its_shard_again(
    storage: Storage, shard: int, epoch: Epoch
) -> None:
    """As one that lost the lease by its own clock, while the database knows it as the owner still."""
    await storage.queue.enqueue(await new_message(storage))
    (due,) = await storage.queue.claim(shard, epoch, 10)
    assert await storage.queue.start_attempts([due.id], shard, epoch) == {due.id}
    again = (await storage.leases.acquire([f"queue/{shard}"], "me", 3600))[f"queue/{shard}"]
    assert await storage.queue.finish([outcome(due, epoch, RecipientState.DELIVERED)], shard) == 0
    await storage._database.execute(LONG_AGO)
    (doubtful,) = await storage.queue.claim(shard, again, 10)
    assert (doubtful.id, doubtful.in_doubt) == (due.id, True)


async def new_message(storage: Storage, *names: str, site: str = SITE) -> NewQueueMessage:
    recipients = [NewRecipient(f"{name}@{site}", site) for name in names or ("bob",)]
    return NewQueueMessage("ann@example.org", await storage.blobs.prepare(CONTENT), recipients)


def outcome(due: DueRecipient, epoch: Epoch, state: RecipientState, when: datetime | None = None) -> Outcome:
    return Outcome(due.id, epoch, state, "250 ok\r\nthanks", "2.0.0", "mx.example.net [192.0.2.1]:25", when, "TLSv1.3")


async def attempt(
    storage: Storage, shard: int, epoch: Epoch, state: RecipientState, when: datetime | None = None
) -> int:
    """Claim all, start, finish with `state`; returns how many outcomes were written."""
    due = await storage.queue.claim(shard, epoch, 100)
    started = await storage.queue.start_attempts([row.id for row in due], shard, epoch)
    return await storage.queue.finish([outcome(row, epoch, state, when) for row in due if row.id in started], shard)


async def test_of_what_is_due_the_highest_priority_goes_first(storage: Storage, shard: int, epoch: Epoch) -> None:
    for number, priority in enumerate((0, -2, 9, 0, 3, -9, 9)):
        message = await new_message(storage, f"{priority}/{number}")
        await storage.queue.enqueue(replace(message, terms=Terms(priority=priority)))
    names = [due.address.partition("@")[0] for due in await storage.queue.claim(shard, epoch, 100)]
    assert names == ["9/2", "9/6", "3/4", "0/0", "0/3", "-2/1", "-9/5"]
    assert [due.terms.priority for due in await storage.queue.claim(shard, epoch, 4)] == [9, 9, 3, 0]


async def test_what_was_asked_of_a_message_comes_out_as_it_went_in(storage: Storage, shard: int, epoch: Epoch) -> None:
    by = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    wanted = [
        NO_TERMS,
        Terms(by, by_return=True, by_trace=True),
        Terms(by, by_return=False, priority=-1),
        Terms(require_tls=True),
    ]
    for terms in wanted:
        await storage.queue.enqueue(replace(await new_message(storage), terms=terms))
    found = await storage.queue.claim(shard, epoch, 10)
    assert [due.terms for due in sorted(found, key=lambda due: due.id)] == wanted
    await storage.queue.start_attempts([due.id for due in found], shard, epoch)
    told = [replace(outcome(due, epoch, RecipientState.WAITING, by), noticed=due == found[0]) for due in found]
    assert await storage.queue.finish(told, shard) == 4
    await storage._database.execute("UPDATE queue_recipient SET due = now()")
    again = {due.id: due.noticed for due in await storage.queue.claim(shard, epoch, 10)}
    assert again == {due.id: due == found[0] for due in found}


async def refs(storage: Storage) -> int:
    return int(await storage._database.fetchval("SELECT count(*) FROM blob_ref WHERE kind = 2"))


async def test_a_message_is_delivered(storage: Storage, shard: int, epoch: Epoch) -> None:
    message = replace(
        await new_message(storage), envid="e1", ret="HDRS", smtputf8=True, eight_bit=True, account=AccountId(7),
        recipients=[NewRecipient("bob@example.net", SITE, "SUCCESS", "rfc822;bob@example.net")],
    )  # fmt: skip
    number = await storage.queue.enqueue(message)
    [due] = await storage.queue.claim(shard, epoch, 10)
    assert (due.message, due.shard, due.site, due.address, due.sender) == (
        number, shard, SITE, "bob@example.net", "ann@example.org",
    )  # fmt: skip
    assert (due.notify, due.orcpt, due.ret, due.envid) == ("SUCCESS", "rfc822;bob@example.net", "HDRS", "e1")
    assert (due.smtputf8, due.eight_bit, due.attempt, due.in_doubt, due.size) == (True, True, 0, False, len(CONTENT))
    assert await storage.queue.message_blob(number) == CONTENT
    assert await storage.queue.claim(shard, epoch, 10, exclude=[due.id]) == []
    assert await storage.queue.start_attempts([due.id], shard, epoch) == {due.id}
    assert await storage.queue.claim(shard, epoch, 10) == []
    assert await storage.queue.finish([outcome(due, epoch, RecipientState.DELIVERED)], shard) == 1
    shown = await storage.queue.show(number)
    assert shown.done_at is not None
    assert (shown.recipients[0].state, shown.recipients[0].attempt) == (RecipientState.DELIVERED, 1)
    assert shown.recipients[0].reply == "250 ok thanks"
    line = await storage.queue.time_line(number)
    assert [(event.kind, event.attempt, event.status, event.tls) for event in line] == [
        ("queued", 0, "", None),
        ("delivered", 1, "2.0.0", "TLSv1.3"),
    ]
    assert await refs(storage) == 0


async def test_the_time_line_has_classes_and_owners_and_notices_are_counted(
    storage: Storage, shard: int, epoch: Epoch
) -> None:
    number = await storage.queue.enqueue(await new_message(storage))
    for notices, kind in ((1, "mailbox-full"), (0, "busy"), (2, "")):
        await storage._database.execute("UPDATE queue_recipient SET due = now()")
        [due] = await storage.queue.claim(shard, epoch, 10)
        await storage.queue.start_attempts([due.id], shard, epoch)
        told = replace(outcome(due, epoch, RecipientState.WAITING), reply_class=kind, notices=notices)
        assert await storage.queue.finish([told], shard) == 1
        assert await storage.queue.notices([due.id, due.id + 1000]) == {due.id: max(notices, 1)}
    line = (await storage.queue.time_line(number))[1:]
    assert [(event.reply_class, event.owner) for event in line] == [("mailbox-full", "me"), ("busy", "me"), ("", "me")]


async def test_the_same_delivery_is_queued_once(storage: Storage) -> None:
    message = replace(await new_message(storage, "a", "b"), delivery_id=uuid4())
    numbers = await asyncio.gather(*(storage.queue.enqueue(message) for _ in range(8)))
    assert len(set(numbers)) == 1
    assert (await storage.queue.depth())[RecipientState.WAITING] == 2
    assert await refs(storage) == 1

    async def work(connection: Connection) -> list[QueueMessageId]:
        return await storage.queue.enqueue_in(connection, [message, replace(message, delivery_id=None), message])

    found = await storage._database.run(work)
    assert (found[0], found[2]) == (numbers[0], numbers[0])
    assert found[1] != numbers[0]


async def test_a_message_without_recipients_is_refused(storage: Storage) -> None:
    with pytest.raises(InvalidContent):
        await storage.queue.enqueue(replace(await new_message(storage), recipients=[]))


async def test_a_rolled_back_transaction_queues_nothing(storage: Storage) -> None:
    message = await new_message(storage)
    with pytest.raises(RuntimeError):
        async with storage._database.transaction() as connection:
            await storage.queue.enqueue_in(connection, [message])
            raise RuntimeError("the unit of work fails after all")
    assert sum((await storage.queue.depth()).values()) == 0
    assert await storage._database.fetchval("SELECT count(*) FROM blob") == 0


async def test_a_deferred_recipient_waits_for_its_time(storage: Storage, shard: int, epoch: Epoch) -> None:
    number = await storage.queue.enqueue(await new_message(storage))
    later = datetime.now(UTC) + timedelta(hours=1)
    assert await attempt(storage, shard, epoch, RecipientState.WAITING, later) == 1
    assert await storage.queue.claim(shard, epoch, 10) == []
    assert await storage.queue.next_due(shard) == later
    assert await refs(storage) == 1
    assert await storage.queue.retry_now(number) == [shard]
    [due] = await storage.queue.claim(shard, epoch, 10)
    assert (due.attempt, due.in_doubt) == (1, False)
    assert [event.kind for event in await storage.queue.time_line(number)] == ["queued", "deferred", "retry"]


async def test_a_message_is_held_until_its_time(storage: Storage, shard: int, epoch: Epoch) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    await storage.queue.enqueue(replace(await new_message(storage), hold_until=later))
    assert await storage.queue.claim(shard, epoch, 10) == []
    assert await storage.queue.next_due(shard) == later


async def test_an_owner_of_the_past_changes_nothing(storage: Storage, shard: int, epoch: Epoch) -> None:
    number = await storage.queue.enqueue(await new_message(storage, "a", "b"))
    first, second = await storage.queue.claim(shard, epoch, 10)
    assert await storage.queue.start_attempts([first.id], shard, epoch) == {first.id}
    new = await take_over(storage, shard)
    before = await storage.queue.show(number)
    assert await storage.queue.claim(shard, epoch, 10) == []
    assert await storage.queue.start_attempts([first.id, second.id], shard, epoch) == set()
    bounce = await new_message(storage, "ann")
    late = [outcome(first, epoch, RecipientState.FAILED), outcome(second, epoch, RecipientState.FAILED)]
    assert await storage.queue.finish(late, shard, [bounce]) == 0
    forged = [replace(one, epoch=new) for one in late]
    assert await storage.queue.finish(forged, shard) == 0
    assert await storage.queue.show(number) == before
    assert len(await storage.queue.messages()) == 1


async def test_what_a_dead_owner_had_in_flight_is_in_doubt(storage: Storage, shard: int, epoch: Epoch) -> None:
    number = await storage.queue.enqueue(await new_message(storage, "a", "b"))
    first, second = await storage.queue.claim(shard, epoch, 10)
    await storage.queue.start_attempts([first.id], shard, epoch)
    new = await take_over(storage, shard)
    assert [row.id for row in await storage.queue.claim(shard, new, 10)] == [second.id], "after a short wait only"
    assert await storage.queue.start_attempts([first.id], shard, new) == set()
    await storage._database.execute(LONG_AGO)
    again = {row.id: row for row in await storage.queue.claim(shard, new, 10)}
    assert (again[first.id].in_doubt, again[second.id].in_doubt) == (True, False)
    assert await storage.queue.start_attempts([first.id], shard, new) == {first.id}
    assert await storage.queue.finish([outcome(first, epoch, RecipientState.DELIVERED)], shard) == 0
    assert await storage.queue.finish([outcome(first, new, RecipientState.DELIVERED)], shard) == 1
    recipient = (await storage.queue.show(number)).recipients[0]
    assert (recipient.attempt, recipient.doubts, recipient.state) == (2, 1, RecipientState.DELIVERED)
    assert [event.kind for event in await storage.queue.time_line(number)] == ["queued", "in-doubt", "delivered"]


async def test_the_owner_leaves_its_own_attempts_alone(storage: Storage, shard: int, epoch: Epoch) -> None:
    await storage.queue.enqueue(await new_message(storage))
    [due] = await storage.queue.claim(shard, epoch, 10)
    await storage.queue.start_attempts([due.id], shard, epoch)
    await storage._database.execute(LONG_AGO)
    assert await storage.queue.claim(shard, epoch, 10) == []
    await storage._database.execute("UPDATE queue_recipient SET since = now() - interval '2 hours'")
    assert [row.in_doubt for row in await storage.queue.claim(shard, epoch, 10)] == [True]


async def test_outcomes_are_written_once(storage: Storage, shard: int, epoch: Epoch) -> None:
    number = await storage.queue.enqueue(await new_message(storage))
    [due] = await storage.queue.claim(shard, epoch, 10)
    assert await storage.queue.finish([outcome(due, epoch, RecipientState.DELIVERED)], shard) == 0, "never started"
    await storage.queue.start_attempts([due.id], shard, epoch)
    done = [outcome(due, epoch, RecipientState.WAITING, datetime.now(UTC))]
    assert sorted(await asyncio.gather(*(storage.queue.finish(done, shard) for _ in range(4)))) == [0, 0, 0, 1]
    assert (await storage.queue.show(number)).recipients[0].attempt == 1
    assert [event.kind for event in await storage.queue.time_line(number)] == ["queued", "deferred"]
    assert await storage.queue.finish([], shard) == 0


async def test_attempts_start_once_however_many_ask(storage: Storage, shard: int, epoch: Epoch) -> None:
    await storage.queue.enqueue(await new_message(storage, *"abcdefgh"))
    ids = [row.id for row in await storage.queue.claim(shard, epoch, 100)]
    assert len(ids) == 8
    started = await asyncio.gather(
        *(storage.queue.start_attempts(ids if n % 2 else ids[::-1], shard, epoch) for n in range(6))
    )
    assert sorted(one for some in started for one in some) == sorted(ids)


async def test_a_message_is_done_when_its_last_recipient_is(storage: Storage) -> None:
    """Recipients of one message finish at the same time in different shards: one of them lets the blob go."""
    sites = [f"site{n}.example" for n in range(12)]
    message = replace(await new_message(storage), recipients=[NewRecipient(f"x@{site}", site) for site in sites])
    number = await storage.queue.enqueue(message)
    shards = sorted({storage.queue.shard_of(site) for site in sites})
    assert len(shards) > 3
    epochs = await storage.leases.acquire([f"queue/{shard}" for shard in shards], "me", 3600)
    await asyncio.gather(
        *(attempt(storage, shard, epochs[f"queue/{shard}"], RecipientState.DELIVERED) for shard in shards)
    )
    assert (await storage.queue.show(number)).done_at is not None
    assert await refs(storage) == 0
    with pytest.raises(BlobNotFound):
        await storage._database.execute("UPDATE blob SET touched_at = now() - interval '1 day'")
        owner = await storage.leases.acquire(["roles/purge"], "me", 60)
        assert await storage.purge.purge_blobs(owner["roles/purge"], 10) == 1
        await storage.queue.message_blob(number)


async def test_a_bounce_comes_with_the_outcome(storage: Storage, shard: int, epoch: Epoch) -> None:
    await storage.queue.enqueue(await new_message(storage))
    [due] = await storage.queue.claim(shard, epoch, 10)
    await storage.queue.start_attempts([due.id], shard, epoch)
    bounce = replace(await new_message(storage, "ann", site="elsewhere.example"), sender="", delivery_id=uuid4())
    failed = [outcome(due, epoch, RecipientState.FAILED)]
    assert await storage.queue.finish(failed, shard, [bounce]) == 1
    assert await storage.queue.finish(failed, shard, [bounce]) == 0
    [queued] = await storage.queue.messages()
    assert (queued.sender, queued.recipients[0].address) == ("", "ann@elsewhere.example")
    assert len(await storage.queue.messages(QueueFilter(done=True))) == 2


SUMMARY = MessageSummary(
    size=len(CONTENT), message_id=None, in_reply_to=(), references=(), subject="hello", base_subject="hello",
    sent_at=None, preview="hello", has_attachment=False, envelope=b"()", body_structure=b"()", body=b"()",
    structure=b"{}", listing=b"{}", headers=b"Subject: hello\r\n", search_text="hello",
)  # fmt: skip


async def test_a_bounce_to_an_account_is_delivered_with_the_outcome(
    storage: Storage, shard: int, epoch: Epoch, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    ann = await account("ann@example.org")
    full = await account("full@example.org", quota=1)
    heard: list[Changed] = []
    storage.on_change = heard.append
    await storage.queue.enqueue(await new_message(storage))
    [due] = await storage.queue.claim(shard, epoch, 10)
    await storage.queue.start_attempts([due.id], shard, epoch)
    blob = await storage.blobs.prepare(CONTENT)
    bounces = [
        NewMessage(who, (), SUMMARY, blob, delivery_id=uuid4(), delivered=True)
        for who in (ann.id, full.id, AccountId(ann.id + 9999))
    ]
    assert await storage.queue.finish([outcome(due, epoch, RecipientState.FAILED)], shard, bounces) == 1
    inbox = next(box for box in await storage.mail.mailboxes(ann.id) if box.role == "inbox")
    assert inbox.total == 1
    assert [(event.account, ChangeKind.EMAIL_DELIVERY in event.kinds) for event in heard] == [(ann.id, True)]
    assert (await storage.queue.depth())[RecipientState.FAILED] == 1


async def test_delivery_and_queue_are_one_unit_of_work(
    storage: Storage, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    ann = await account("ann@example.org")
    outgoing = replace(await new_message(storage, "bob"), delivery_id=uuid4())
    local = NewMessage(ann.id, (), SUMMARY, outgoing.blob, delivery_id=outgoing.delivery_id, delivered=True)
    for _ in range(2):
        await storage.mail.deliver([local], [outgoing])
    inbox = next(box for box in await storage.mail.mailboxes(ann.id) if box.role == "inbox")
    assert inbox.total == 1
    assert len(await storage.queue.messages()) == 1
    assert await storage._database.fetchval("SELECT count(*) FROM blob_ref") == 2


async def test_cancelling(storage: Storage, shard: int, epoch: Epoch) -> None:
    number = await storage.queue.enqueue(await new_message(storage, "a", "b"))
    first, second = await storage.queue.claim(shard, epoch, 10)
    await storage.queue.start_attempts([first.id], shard, epoch)
    assert await storage.queue.cancel(number) == 1
    assert await storage.queue.start_attempts([second.id], shard, epoch) == set()
    assert await refs(storage) == 1
    assert await storage.queue.cancel(number) == 0
    assert await storage.queue.retry_now(number) == []
    assert await storage.queue.finish([outcome(first, epoch, RecipientState.DELIVERED)], shard) == 1
    assert await refs(storage) == 0
    assert [event.kind for event in await storage.queue.time_line(number)] == ["queued", "cancelled", "delivered"]
    unknown = QueueMessageId(number + 1000)
    for call in (storage.queue.cancel, storage.queue.retry_now, storage.queue.show, storage.queue.message_blob):
        with pytest.raises(NotFound):
            await call(unknown)
    assert await storage.queue.time_line(unknown) == []


async def test_listing_narrows(storage: Storage, shard: int, epoch: Epoch) -> None:
    first = await storage.queue.enqueue(await new_message(storage, "bob"))
    other = replace(
        await new_message(storage, "carol", site="other.example"), sender="x@y.example", account=AccountId(5)
    )
    second = await storage.queue.enqueue(other)
    list_of = storage.queue.messages

    async def ids(wanted: QueueFilter) -> list[int]:
        return [message.id for message in await list_of(wanted)]

    assert [message.id for message in await list_of()] == [second, first]
    assert [message.id for message in await list_of(limit=1)] == [second]
    assert await ids(QueueFilter(before=second)) == [first]
    assert await ids(QueueFilter(sender="y.example")) == [second]
    assert await ids(QueueFilter(recipient="bob@")) == [first]
    assert await ids(QueueFilter(site="other.example")) == [second]
    assert await ids(QueueFilter(account=AccountId(5))) == [second]
    assert await ids(QueueFilter(state=RecipientState.IN_FLIGHT)) == []
    assert await ids(QueueFilter(sender="100%_")) == []
    assert sum(depth.due for depth in await storage.queue.depth_by_shard()) == 2
    assert await attempt(storage, shard, epoch, RecipientState.DELIVERED) == 1
    assert await ids(QueueFilter()) == [second]


async def test_the_longest_overdue_is_of_those_that_wait(storage: Storage, shard: int, epoch: Epoch) -> None:
    assert await storage.queue.overdue() == 0.0
    await storage.queue.enqueue(await new_message(storage, "bob", "carol"))
    await storage.queue.enqueue(await new_message(storage, site="b.test"))
    back = "UPDATE queue_recipient SET due = now() + make_interval(secs => $2) WHERE address = $1"
    await storage._database.execute(back, "bob@example.net", -600.0)
    await storage._database.execute(back, "carol@example.net", 600.0)
    await storage._database.execute(back, "bob@b.test", -60.0)
    assert 600 <= await storage.queue.overdue() < 660
    due = await storage.queue.claim(shard, epoch, 1)
    await storage.queue.start_attempts([row.id for row in due], shard, epoch)
    assert 60 <= await storage.queue.overdue() < 120


async def test_hostile_replies_are_stored_on_one_bounded_line(storage: Storage, shard: int, epoch: Epoch) -> None:
    number = await storage.queue.enqueue(await new_message(storage))
    [due] = await storage.queue.claim(shard, epoch, 10)
    await storage.queue.start_attempts([due.id], shard, epoch)
    bad = replace(outcome(due, epoch, RecipientState.FAILED), reply="550 \0\r\n\udcff" + "x" * 100_000, status="5" * 99)
    assert await storage.queue.finish([bad], shard) == 1
    reply = (await storage.queue.show(number)).recipients[0].reply
    assert len(reply) <= 1000
    assert reply.startswith("550 ?xx")


async def test_the_number_of_shards_is_fixed_by_the_first(storage: Storage) -> None:
    assert storage.queue.shards == 16
    assert {storage.queue.shard_of(f"site{n}.example") for n in range(500)} == set(range(16))
    assert storage.queue.shard_of("example.net") == storage.queue.shard_of("example.net")


async def test_done_messages_are_purged_after_a_while(storage: Storage, shard: int, epoch: Epoch) -> None:
    await storage.queue.enqueue(await new_message(storage))
    await attempt(storage, shard, epoch, RecipientState.DELIVERED)
    open_one = await storage.queue.enqueue(await new_message(storage))
    assert await storage.purge.purge_queue_done(10) == 0
    assert await storage.purge.purge_queue_done(10, keep=timedelta(0)) == 1
    assert [message.id for message in await storage.queue.messages(QueueFilter(done=True))] == [open_one]
    assert await storage._database.fetchval("SELECT count(*) FROM queue_event WHERE message_id <> $1", open_one) == 0


async def test_beside_one_message_with_nearly_all_recipients_others_are_found_by_the_index(storage: Storage) -> None:
    """Whether a message has an open recipient left; else the end of each would read them all."""
    everybody = [NewRecipient(f"r{number}@{SITE}", SITE) for number in range(5_000)]
    blob = await storage.blobs.prepare(CONTENT)
    await storage.queue.enqueue(NewQueueMessage("news@example.org", blob, everybody))
    await storage._database.execute("ANALYZE queue_recipient")
    plan = await storage._database.fetch("""
EXPLAIN SELECT NOT EXISTS (SELECT FROM queue_recipient r WHERE r.message_id = c.message_id AND r.state IN (0, 1))
FROM (VALUES (1::bigint), (2)) AS c (message_id)""")
    shown = "\n".join(row[0] for row in plan)
    assert "Seq Scan on queue_recipient" not in shown
    assert "ix_queue_recipient_message_id" in shown
