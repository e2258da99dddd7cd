"""Attempts of several shards written together: each under its own lease, none twice, the last recipient closes."""

import asyncio
from collections.abc import Sequence

import pytest

from posthorn_model.errors import BlobNotFound
from posthorn_model.ids import BlobKey, Epoch, QueueMessageId
from posthorn_model.queue_items import (
    NO_TERMS,
    DueRecipient,
    NewQueueMessage,
    NewRecipient,
    Outcome,
    RecipientState,
    Terms,
)
from posthorn_storage import Storage
from posthorn_storage.queue import Attempts, Claim, Finish, QueueStore, Start

pytestmark = pytest.mark.postgres

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
COMMITS = "SELECT xmin::text FROM queue_recipient ORDER BY id"


def sites(storage: Storage, count: int) -> dict[int, str]:
    """A site for each of `count` shards."""
    found: dict[int, str] = {}
    for n in range(1000):
        found.setdefault(storage.queue.shard_of(f"s{n}.example.net"), f"s{n}.example.net")
    return dict(list(found.items())[:count])


async def enqueue(storage: Storage, *names: str, terms: Terms = NO_TERMS) -> QueueMessageId:
    """A message with one recipient at each site."""
    blob = await storage.blobs.prepare(b"Subject: hello\r\n\r\nhello\r\n")
    recipients = [NewRecipient(f"bob@{site}", site) for site in names]
    return await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, recipients, terms=terms))


async def owned(storage: Storage, shards: dict[int, str]) -> dict[int, Epoch]:
    held = await storage.leases.acquire([f"queue/{shard}" for shard in shards], "me", 3600)
    return {shard: held[f"queue/{shard}"] for shard in shards}


async def claimed(storage: Storage, epochs: dict[int, Epoch]) -> dict[int, int]:
    """The one recipient that is due in each shard."""
    found = {}
    for shard, epoch in epochs.items():
        (due,) = await storage.queue.claim(shard, epoch, 10)
        found[shard] = due.id
    return found


def delivered(recipient: int, epoch: Epoch) -> Outcome:
    return Outcome(recipient, epoch, RecipientState.DELIVERED, "250 ok", "2.0.0", "mx", None, None)


async def test_attempts_of_all_shards_share_their_transactions(storage: Storage) -> None:
    shards = sites(storage, 4)
    message = await enqueue(storage, *shards.values())
    epochs = await owned(storage, shards)
    due = await claimed(storage, epochs)
    attempts = Attempts(storage.queue, 0.02)
    started = await asyncio.gather(*(attempts.start(Start([due[s], 99_999], s, epochs[s])) for s in shards))
    assert started == [{due[s]} for s in shards]
    assert len({row[0] for row in await storage._database.fetch(COMMITS)}) == 1
    counts = await asyncio.gather(
        *(attempts.finish(Finish([delivered(due[s], epochs[s])], s)) for s in [*shards, *shards])
    )
    assert counts == [1, 1, 1, 1, 0, 0, 0, 0], "of a repeated outcome only the first counts"
    assert len({row[0] for row in await storage._database.fetch(COMMITS)}) == 1
    assert (await storage.queue.show(message)).done_at is not None
    assert [event.kind for event in await storage.queue.time_line(message)] == ["queued", *["delivered"] * 4]
    await attempts.close()


async def test_contents_are_read_together_and_one_that_is_missing_fails_alone(storage: Storage) -> None:
    contents = [b"Subject: %d\r\n\r\nhello\r\n" % n for n in range(4)]
    blobs = [await storage.blobs.prepare(content) for content in contents]
    [(_, site)] = sites(storage, 1).items()
    for blob in blobs:
        await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, [NewRecipient(f"bob@{site}", site)]))
    attempts = Attempts(storage.queue, 0.02)
    asked = [attempts.content(key) for key in [*(blob.key for blob in blobs), BlobKey(b"k" * 32)]]
    *found, missing = await asyncio.gather(*asked, return_exceptions=True)
    assert found == contents
    assert isinstance(missing, BlobNotFound)
    await attempts.close()


async def test_a_shard_that_was_taken_over_keeps_nobody_else_from_writing(storage: Storage) -> None:
    shards = sites(storage, 3)
    await enqueue(storage, *shards.values())
    epochs = await owned(storage, shards)
    due = await claimed(storage, epochs)
    lost, *kept = shards
    await storage._database.execute("UPDATE lease SET epoch = epoch + 1 WHERE key = $1", f"queue/{lost}")
    starts = await storage.queue.start_all([Start([due[s]], s, epochs[s]) for s in shards])
    assert starts == [set(), *({due[s]} for s in kept)]
    await storage._database.execute("UPDATE lease SET epoch = epoch + 1 WHERE key = $1", f"queue/{kept[0]}")
    counts = await storage.queue.finish_all([Finish([delivered(due[s], epochs[s])], s) for s in shards])
    assert counts == [0, 0, 1]
    wrong = Start([due[lost]], kept[1], epochs[kept[1]])
    assert await storage.queue.start_all([wrong]) == [set()], "a recipient is written under its own shard's lease alone"


@pytest.mark.parametrize("together", [False, True])
async def test_whoever_closes_the_last_recipient_closes_the_message(storage: Storage, *, together: bool) -> None:
    """Two finishers that each see the other's recipient open: the message must not stay open for ever."""
    shards = sites(storage, 2)
    epochs = await owned(storage, shards)
    for _ in range(10):
        message = await enqueue(storage, *shards.values())
        due = await claimed(storage, epochs)
        await storage.queue.start_all([Start([due[s]], s, epochs[s]) for s in shards])
        ends = [Finish([delivered(due[s], epochs[s])], s) for s in shards]
        if together:
            assert await storage.queue.finish_all(ends) == [1, 1]
        else:
            assert await asyncio.gather(*(storage.queue.finish_all([end]) for end in ends)) == [[1], [1]]
        assert (await storage.queue.show(message)).done_at is not None
    assert await storage._database.fetchval("SELECT count(*) FROM blob_ref WHERE kind = 2") == 0
    assert (await storage.check.queue()).findings == []


class Watched:
    """A queue that remembers how many claims came at once."""

    def __init__(self, queue: QueueStore) -> None:
        self.claims: list[int] = []
        self.start_all = queue.start_all
        self.finish_all = queue.finish_all
        self.contents = queue.contents
        self._queue = queue

    async def claim_all(self, claims: Sequence[Claim]) -> list[list[DueRecipient]]:
        self.claims.append(len(claims))
        return await self._queue.claim_all(claims)


async def test_claims_of_the_same_moment_share_a_statement_and_nothing_else(storage: Storage) -> None:
    shards = sites(storage, 5)
    seconds = {storage.queue.shard_of(name): name for name in (f"t{n}.example.org" for n in range(1000))}
    for shard, site in shards.items():
        for priority in (0, 3, 0, -2):
            await enqueue(storage, site, terms=Terms(priority=priority))
            await enqueue(storage, seconds[shard], terms=Terms(priority=priority))
    epochs = await owned(storage, shards)
    whole, few, others, busy, late = shards
    (first,) = await storage.queue.claim(busy, epochs[busy], 1)
    await storage.leases.acquire([f"queue/{late}"], "me", 3600)  # under another epoch now
    claims = [
        Claim(whole, epochs[whole], 100),
        Claim(few, epochs[few], 3),
        Claim(others, epochs[others], 100, sites=[shards[others], shards[whole]]),
        Claim(busy, epochs[busy], 100, {first.id, 99_999}, [shards[whole]]),
        Claim(late, epochs[late], 100),
    ]
    alone = [await storage.queue.claim_all([claim]) for claim in claims]
    assert [len(found) for (found,) in alone] == [8, 3, 4, 7, 0]
    assert [each.terms.priority for each in alone[0][0]] == [3, 3, 0, 0, 0, 0, -2, -2]
    assert {each.site for each in alone[2][0]} == {seconds[others]}
    assert first not in alone[3][0]

    queue = Watched(storage.queue)
    attempts = Attempts(queue, 0.02)
    together = await asyncio.gather(*map(attempts.claim, claims))
    assert [[each.id for each in found] for found in together] == [[each.id for each in found] for (found,) in alone]
    assert queue.claims == [5]
    assert [await attempts.claim(claims[1])] == alone[1]
    assert queue.claims == [5, 1]
    await attempts.close()


async def test_one_shard_may_be_claimed_twice_at_once(storage: Storage) -> None:
    shards = sites(storage, 1)
    (shard,) = shards
    for _ in range(3):
        await enqueue(storage, shards[shard])
    before = (await owned(storage, shards))[shard]
    now = (await owned(storage, shards))[shard]
    found = await storage.queue.claim_all([Claim(shard, before, 10), Claim(shard, now, 2), Claim(shard, now, 10)])
    assert [len(each) for each in found] == [0, 2, 3]


async def test_content_that_the_collector_looks_at_just_now_is_on_its_list_again(storage: Storage) -> None:
    shards = sites(storage, 1)
    await enqueue(storage, *shards.values())
    epochs = await owned(storage, shards)
    ((shard, number),) = (await claimed(storage, epochs)).items()
    await storage.queue.start_attempts([number], shard, epochs[shard])
    async with storage._database.transaction() as collector:
        await collector.execute("SELECT FROM blob FOR UPDATE")
        ending = asyncio.create_task(storage.queue.finish([delivered(number, epochs[shard])], shard))
        while not await storage._database.fetchval(WAITING):
            assert not ending.done()
        await collector.execute(
            "UPDATE blob SET touched_at = NULL"
        )  # it is still referred to, as the collector sees it
    assert await ending == 1
    assert await storage._database.fetchval("SELECT count(*) FROM blob_ref") == 0
    assert await storage._database.fetchval("SELECT touched_at IS NOT NULL FROM blob")
