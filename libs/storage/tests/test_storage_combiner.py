"""The combiner by itself: company, limits, blame, closing. No database and no clock."""

import asyncio
from collections.abc import Sequence

import pytest

from posthorn_model.errors import Overloaded, OverQuota, PosthornError, Unavailable
from posthorn_storage.combiner import Combiner


class Shop:
    """Stores integers when the gate is open; 13 is refused, 666 breaks the batch it is in."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()

    async def store(self, items: Sequence[int]) -> list[int | PosthornError]:
        self.batches.append(list(items))
        self.began.set()
        await self.gate.wait()
        if 500 in items:
            raise Unavailable(step="commit")
        if 501 in items:
            raise Unavailable(step="attach")
        if 666 in items:
            raise ValueError("poison")
        return [OverQuota() if item == 13 else item * 2 for item in items]


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def gather(combiner: Combiner[int, int], *items: int) -> list[int | BaseException]:
    return await asyncio.gather(*(combiner.submit(item) for item in items), return_exceptions=True)


async def test_concurrent_items_share_a_batch(shop: Shop) -> None:
    combiner = Combiner[int, int](shop.store, window=0.001)
    assert await combiner.submit(1) == 2
    assert await gather(combiner, 1, 2, 3) == [2, 4, 6]
    assert shop.batches == [[1], [1, 2, 3]]


async def test_a_refused_item_fails_alone(shop: Shop) -> None:
    first, refused, last = await gather(Combiner[int, int](shop.store, window=0.001), 1, 13, 3)
    assert (first, last) == (2, 6)
    assert isinstance(refused, OverQuota)
    assert len(shop.batches) == 1


@pytest.mark.parametrize(("poison", "error"), [(666, ValueError), (501, Unavailable)])
async def test_a_batch_that_breaks_is_tried_item_by_item(shop: Shop, poison: int, error: type[Exception]) -> None:
    outcomes = await gather(Combiner[int, int](shop.store, window=0.001), 1, poison, 3)
    assert outcomes[::2] == [2, 6]
    assert isinstance(outcomes[1], error)
    assert shop.batches == [[1, poison, 3], [1], [poison], [3]]


async def test_a_database_that_is_away_is_not_asked_for_each(shop: Shop) -> None:
    outcomes = await gather(Combiner[int, int](shop.store, window=0.001), 1, 500, 3)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert len(shop.batches) == 1


async def test_what_waits_is_bounded(shop: Shop) -> None:
    shop.gate.clear()
    combiner = Combiner[int, int](shop.store, window=0.0, batch=2, parallel=1, waiting=3)
    calls = [asyncio.create_task(combiner.submit(number)) for number in range(2)]
    await shop.began.wait()
    calls += [asyncio.create_task(combiner.submit(number)) for number in range(2, 5)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await combiner.submit(99)
    shop.gate.set()
    assert await asyncio.gather(*calls) == [0, 2, 4, 6, 8]
    assert shop.batches == [[0, 1], [2, 3], [4]]


async def test_a_full_batch_does_not_wait_for_the_window(shop: Shop) -> None:
    combiner = Combiner[int, int](shop.store, window=3600.0, batch=2)
    assert await gather(combiner, 1, 2) == [2, 4]


async def test_closing_stores_what_waits(shop: Shop) -> None:
    combiner = Combiner[int, int](shop.store, window=3600.0)
    waiting = asyncio.create_task(combiner.submit(7))
    await asyncio.sleep(0)
    await combiner.close()
    assert await waiting == 14
    await combiner.close()


async def test_a_caller_that_goes_away_takes_nobody_along(shop: Shop) -> None:
    shop.gate.clear()
    combiner = Combiner[int, int](shop.store, window=0.0)
    gone, stays = asyncio.create_task(combiner.submit(1)), asyncio.create_task(combiner.submit(2))
    await shop.began.wait()
    gone.cancel()
    shop.gate.set()
    assert await stays == 4
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert shop.batches == [[1, 2]]


def tens_and_ones(item: int) -> set[int]:
    return {item // 10, item % 10}


async def test_batches_with_a_common_key_run_one_after_the_other(shop: Shop) -> None:
    shop.gate.clear()
    combiner = Combiner[int, int](shop.store, window=0.0, keys=tens_and_ones)
    calls = [asyncio.create_task(combiner.submit(12))]
    await shop.began.wait()
    shop.began.clear()
    # 23 and then 14 need what 12 has, and 34 what 23 waits for; 56 is free.
    for item in (23, 34, 14, 56):
        calls.append(asyncio.create_task(combiner.submit(item)))
    await shop.began.wait()
    assert shop.batches == [[12], [56]]
    shop.gate.set()
    assert await asyncio.gather(*calls) == [24, 46, 68, 28, 112]
    assert shop.batches == [[12], [56], [23, 34, 14]]


async def test_who_waits_for_two_keys_is_not_overtaken_for_ever(shop: Shop) -> None:
    """Two streams keep their keys busy in turn; the item that needs both is stored before either goes on twice."""
    combiner = Combiner[int, int](shop.store, window=0.0, keys=tens_and_ones, batch=1)
    streams = [asyncio.create_task(combiner.submit(item)) for item in (11, 22) * 3]
    both = asyncio.create_task(combiner.submit(12))
    later = [asyncio.create_task(combiner.submit(item)) for item in (11, 22) * 3]
    await asyncio.gather(*streams, both, *later)
    order = [item for (item,) in shop.batches]
    assert order.index(12) == 6


async def test_what_is_held_counts_as_waiting_and_is_stored_at_the_end(shop: Shop) -> None:
    shop.gate.clear()
    combiner = Combiner[int, int](shop.store, window=0.0, keys=tens_and_ones, waiting=2)
    calls = [asyncio.create_task(combiner.submit(11))]
    await shop.began.wait()
    calls += [asyncio.create_task(combiner.submit(11)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await combiner.submit(11)
    closing = asyncio.create_task(combiner.close())
    shop.gate.set()
    await closing
    assert [call.result() for call in calls] == [22, 22, 22]
    assert shop.batches == [[11], [11, 11]]


async def test_who_comes_alone_goes_at_once_and_who_had_company_waits_for_more(shop: Shop) -> None:
    combiner = Combiner[int, int](shop.store, window=3600)
    assert await combiner.submit(1) == 2
    assert await combiner.submit(2) == 4
    assert await gather(combiner, 3, 4) == [6, 8]
    waiting = asyncio.create_task(combiner.submit(5))
    for _ in range(20):
        await asyncio.sleep(0)
    assert shop.batches == [[1], [2], [3, 4]]
    await combiner.close()
    assert await waiting == 10


async def test_the_end_of_a_batch_sends_fewer_than_were_stored_together_not_off_before_their_window_is_over(
    shop: Shop,
) -> None:
    combiner = Combiner[int, int](shop.store, window=3600)
    shop.gate.clear()
    batch = asyncio.create_task(gather(combiner, 1, 2))
    await shop.began.wait()
    third = asyncio.create_task(combiner.submit(3))
    await asyncio.sleep(0)
    shop.gate.set()
    assert await batch == [2, 4]
    fourth = asyncio.create_task(combiner.submit(4))
    for _ in range(20):
        await asyncio.sleep(0)
    assert shop.batches == [[1, 2]]
    await combiner.close()
    assert (await third, await fourth) == (6, 8)
    assert shop.batches == [[1, 2], [3, 4]]


async def test_the_end_of_a_batch_sends_off_as_many_as_were_stored_together(shop: Shop) -> None:
    combiner = Combiner[int, int](shop.store, window=3600)
    shop.gate.clear()
    first = asyncio.create_task(gather(combiner, 1, 2))
    await shop.began.wait()
    second = asyncio.create_task(gather(combiner, 3, 4))
    await turns()
    assert shop.batches == [[1, 2]]
    shop.gate.set()
    assert (await first, await second) == ([2, 4], [6, 8])
    assert shop.batches == [[1, 2], [3, 4]]


async def test_while_a_batch_runs_company_is_waited_for_as_long_as_patience_lasts(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    combiner = Combiner[int, int](shop.store, window=10, patience=4)
    shop.gate.clear()
    calls = [asyncio.create_task(combiner.submit(item)) for item in (1, 2)]
    await turns()
    assert shop.batches == [[1, 2]]
    for item in (3, 4, 5):
        calls.append(asyncio.create_task(combiner.submit(item)))
        await turns()
        now += 11
        await turns()
    assert shop.batches == [[1, 2]]
    now += 11
    await turns()
    assert shop.batches == [[1, 2], [3, 4, 5]]
    shop.gate.set()
    assert await asyncio.gather(*calls) == [2, 4, 6, 8, 10]


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
