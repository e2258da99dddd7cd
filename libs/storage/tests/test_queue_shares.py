"""Limits that are shared out: never more than there is, everybody gets some, and what has run out is free."""

import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from posthorn_model.ids import Epoch
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import Storage
from posthorn_storage.queue import Ask
from posthorn_storage.queue.spreads import salt

pytestmark = pytest.mark.postgres
SITE = "large.example"


@pytest_asyncio.fixture(autouse=True)
async def nothing_left(storage: Storage) -> AsyncIterator[None]:
    yield
    await storage._database.execute("DELETE FROM queue_share")
    await storage._database.execute("DELETE FROM queue_spread")


async def ask(storage: Storage, holder: str, wanted: int, kept: int = 0, most: int = 10) -> tuple[int, int]:
    found = (await storage.queue.shares.ask(holder, [Ask("relay", most, wanted, kept)], 30.0))["relay"]
    return found.connections, found.target


async def test_each_gets_an_equal_part_once_who_had_more_has_given_back(storage: Storage) -> None:
    assert await ask(storage, "a", 50) == (10, 10)
    assert await ask(storage, "b", 4) == (0, 4)
    assert await ask(storage, "a", 50, kept=10) == (10, 6)
    assert await ask(storage, "a", 50, kept=6) == (6, 6)
    assert await ask(storage, "b", 4) == (4, 4)
    assert await ask(storage, "c", 9) == (0, 3)
    assert await ask(storage, "a", 0, kept=0) == (0, 0)
    assert await ask(storage, "c", 9) == (6, 6)
    assert {(each.holder, each.connections) for each in await storage.queue.shares.held(["relay"])} == {
        ("b", 4),
        ("c", 6),
    }
    await storage.queue.shares.release("c")
    assert await ask(storage, "b", 50, kept=4) == (10, 10)


async def test_what_has_run_out_is_free_and_cannot_be_kept(storage: Storage) -> None:
    assert await ask(storage, "a", 10) == (10, 10)
    await storage._database.execute("UPDATE queue_share SET until = now()")
    assert await ask(storage, "b", 10) == (10, 10)
    assert await ask(storage, "a", 10, kept=10) == (0, 5)


async def test_too_few_connections_go_round(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthorn_storage.queue.shares.TURN_SECONDS", 0.001)
    had: set[str] = set()
    for _ in range(200):
        for holder in "abcde":
            if (await ask(storage, holder, 1, most=2))[0]:
                had.add(holder)
        held = await storage.queue.shares.held(["relay"])
        assert sum(each.connections for each in held) <= 2
        if had == set("abcde"):
            break
    assert had == set("abcde")


async def test_the_sum_is_never_over_the_limit_and_comes_to_it(storage: Storage) -> None:
    draw = random.Random(4)
    held = dict.fromkeys("abc", 0)
    for step in range(150):
        holder = draw.choice("abc")
        wanted = draw.choice((0, 1, 3, 20)) if step < 120 else 20
        connections, target = await ask(storage, holder, wanted, kept=draw.randint(0, held[holder]), most=7)
        held[holder] = min(connections, target) if draw.random() < 0.7 else connections
        rows = await storage.queue.shares.held(["relay"])
        assert sum(each.connections for each in rows) <= 7
        assert all(held[each.holder] <= each.connections for each in rows)
    for _ in range(3):
        for holder in "abc":
            held[holder] = min(await ask(storage, holder, 20, kept=held[holder], most=7))
    assert sorted(held.values()) == [2, 2, 3]


async def owned(storage: Storage) -> dict[int, Epoch]:
    taken = await storage.leases.acquire([f"queue/{n}" for n in range(storage.queue.shards)], "me", 3600)
    return {int(key.partition("/")[2]): epoch for key, epoch in taken.items()}


async def fill(storage: Storage, count: int) -> None:
    blob = await storage.blobs.prepare(b"Subject: hello\r\n\r\nhello\r\n")
    recipients = [NewRecipient(f"u{number}@{SITE}", SITE) for number in range(count)]
    await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, recipients))


async def depths(storage: Storage) -> dict[int, int]:
    return {each.shard: each.open for each in await storage.queue.depth_by_shard()}


async def test_recipients_of_a_spread_site_stand_where_their_addresses_say(storage: Storage) -> None:
    queue, epochs = storage.queue, await owned(storage)
    home = queue.shard_of(SITE)
    await fill(storage, 30)
    assert await depths(storage) == {home: 30}
    assert await queue.spreads.put(SITE, 4, home, epochs[home])
    assert await queue.spreads.all() == {SITE: 4}
    due = await queue.claim(home, epochs[home], 100)
    places = {each.id: queue.spreads.place(home, 4, each.address) for each in due}
    elsewhere = {number: place for number, place in places.items() if place != home}
    assert await queue.spreads.move(home, epochs[home], elsewhere) == len(elsewhere) > 10
    before = await depths(storage)
    await fill(storage, 30)
    assert await depths(storage) == {shard: 2 * count for shard, count in before.items()}
    assert set(before) == {(home + number) % queue.shards for number in range(4)}
    assert queue.spreads.place(home, 4, f"u1@{SITE}") == (home + salt(f"u1@{SITE}") % 4) % queue.shards


async def test_what_was_in_flight_is_in_doubt_wherever_it_goes(storage: Storage) -> None:
    queue, epochs = storage.queue, await owned(storage)
    home = queue.shard_of(SITE)
    await fill(storage, 1)
    (due,) = await queue.claim(home, epochs[home], 10)
    await queue.start_attempts([due.id], home, epochs[home])
    there = (home + 1) % queue.shards
    assert await queue.spreads.move(home, epochs[home], {due.id: there}) == 0
    await storage._database.execute("UPDATE lease SET until = now() WHERE key = $1", f"queue/{home}")
    epoch = (await storage.leases.acquire([f"queue/{home}"], "other", 3600))[f"queue/{home}"]
    assert await queue.spreads.move(home, epochs[home], {due.id: there}) == 0
    await storage._database.execute("UPDATE queue_recipient SET since = now() - interval '1 minute'")
    assert await queue.spreads.move(home, epoch, {due.id: there}) == 1
    (again,) = await queue.claim(there, epochs[there], 10)
    assert (again.id, again.in_doubt) == (due.id, True)
    assert [event.kind for event in await queue.time_line(due.message)].count("in-doubt") == 1


async def test_only_the_owner_of_its_home_says_whether_a_site_is_spread(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, epochs = storage.queue, await owned(storage)
    home = queue.shard_of(SITE)
    other = (home + 1) % queue.shards
    wanted = [Ask(SITE, 10, 3, 0, spread=True)]
    assert await queue.shares.ask("a", wanted, 30.0) == {}
    assert not await queue.spreads.put(SITE, 4, home, Epoch(epochs[home] - 1))
    assert await queue.spreads.put(SITE, 4, home, epochs[home])
    assert not await queue.spreads.put(SITE, 2, other, epochs[other])
    assert (await queue.shares.ask("a", wanted, 30.0))[SITE].connections == 3
    await storage._database.execute("UPDATE queue_spread SET since = now() - interval '1 hour'")
    assert not await queue.spreads.remove(SITE, home, epochs[home])
    await storage._database.execute("UPDATE queue_spread SET since = now()")
    await queue.shares.release("a")
    assert not await queue.spreads.remove(SITE, home, epochs[home])
    monkeypatch.setattr("posthorn_storage.queue.spreads.SETTLED", 0.0)
    assert not await queue.spreads.remove(SITE, other, epochs[other])
    assert await queue.spreads.remove(SITE, home, epochs[home])
    assert await queue.spreads.all() == {}


async def test_a_site_is_deep_by_what_is_due(storage: Storage) -> None:
    home = storage.queue.shard_of(SITE)
    await fill(storage, 20)
    assert await storage.queue.spreads.deep(home, 20) == {SITE: 20}
    assert await storage.queue.spreads.deep(home, 21) == {}
