"""The contract of the LookupStore port, for every back end.

A test module subclasses LookupContract and gives it a fixture `lookup`: an open, empty store.
"""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from posthorn_model.lookup import MAX_KEYS, MAX_VALUE, LookupStore, Take, Taken, lookup_key
from posthorn_storage.lookup.local_store import LocalLookup
from posthorn_storage.lookup.memory import MemoryCells

LONG = 3600.0
SHORT = 0.05
PATIENCE = 150.0


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Look again and again; what a store forgets by its own clock is forgotten at some moment."""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                if await holds():
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {PATIENCE:g} s") from None


def any_call(chance: random.Random) -> Callable[[LookupStore], Awaitable[object]]:
    """One call of any kind on few keys, whose results do not depend on the moment."""
    key, other, value = chance.choice("abc"), chance.choice("abc"), chance.choice([b"", b"1", b"2"])
    takes = [Take(name, chance.randint(1, 6), 1000 * LONG, chance.randint(0, 7)) for name in sorted({key, other})]
    amount, member, limit = chance.randint(1, 5), chance.choice("xyz"), chance.randint(1, 3)
    calls: list[Callable[[LookupStore], Awaitable[object]]] = [
        lambda store: store.count(key, LONG, amount),
        lambda store: store.counts([key, other]),
        lambda store: store.take([take for take in takes if take.cost <= take.limit]),
        lambda store: store.get([key, other]),
        lambda store: store.put({key: value, other: b"3"}, LONG),
        lambda store: store.add(key, value, LONG),
        lambda store: store.swap(key, value, b"4", LONG),
        lambda store: store.pop(key),
        lambda store: store.join(key, member, LONG, limit),
        lambda store: store.leave(key, member),
        lambda store: store.members(key),
    ]
    return chance.choice([*calls, lambda store: store.drop([key])] if chance.random() < 0.2 else calls)


def shown(found: object) -> object:
    """A result without what depends on the moment."""
    return [answer.allowed for answer in found] if isinstance(found, list) else found


class LookupContract:
    """What every lookup store must do."""

    async def test_a_counter_counts(self, lookup: LookupStore) -> None:
        assert [await lookup.count("n", LONG) for _ in range(3)] == [1, 2, 3]
        assert await lookup.count("n", LONG, 40) == 43
        assert await lookup.count("other", LONG) == 1
        assert await lookup.counts(["n", "other", "none"]) == {"n": 43, "other": 1}
        assert await lookup.counts([]) == {}

    async def test_nothing_is_counted_twice_or_lost_between_many(self, lookup: LookupStore) -> None:
        sums = await asyncio.gather(*(lookup.count("n", LONG, 2) for _ in range(100)))
        assert sorted(sums) == list(range(2, 202, 2))

    async def test_a_counter_ends_after_its_first_addition(self, lookup: LookupStore) -> None:
        name, seen = "", [0]

        async def added_before_its_end() -> bool:
            nonlocal name
            name += "n"
            await lookup.count(name, 0.2, 1000)
            seen[:] = [await lookup.count(name, LONG)]
            assert seen[0] in (1001, 1)
            return seen[0] == 1001

        await until(added_before_its_end, "an addition comes in time")

        async def began_anew() -> bool:
            seen.append(await lookup.count(name, LONG))
            return seen[-1] < seen[-2]

        await until(began_anew, "the long time of later additions does not keep it")
        assert seen[-1] == 1
        assert await lookup.counts([name]) == {name: 1}

    async def test_a_limit_allows_so_many_at_once(self, lookup: LookupStore) -> None:
        answers = [(await lookup.take([Take("l", 3, LONG)]))[0] for _ in range(5)]
        assert [answer.allowed for answer in answers] == [True, True, True, False, False]
        assert [answer.retry_after for answer in answers[:3]] == [0.0, 0.0, 0.0]
        # A third of the hour, less what the test took; what was refused did not take anything either.
        assert all(1000 < answer.retry_after <= LONG / 3 for answer in answers[3:])

    async def test_many_at_once_get_no_more_than_the_limit(self, lookup: LookupStore) -> None:
        answers = await asyncio.gather(*(lookup.take([Take("l", 20, LONG)]) for _ in range(100)))
        assert Counter(answer[0].allowed for answer in answers) == {True: 20, False: 80}

    async def test_a_limit_fills_again(self, lookup: LookupStore) -> None:
        limit = Take("l", 2, 0.4)
        assert [(await lookup.take([limit]))[0].allowed for _ in range(2)] == [True, True]

        async def allowed() -> bool:
            return (await lookup.take([limit]))[0].allowed

        await until(allowed, "one of two units comes back in half of the period")

    async def test_a_cost_is_taken_whole_or_not_at_all(self, lookup: LookupStore) -> None:
        assert (await lookup.take([Take("l", 10, LONG, 7)]))[0].allowed
        refused = (await lookup.take([Take("l", 10, LONG, 4)]))[0]
        assert not refused.allowed
        assert 0 < refused.retry_after <= LONG / 10
        assert (await lookup.take([Take("l", 10, LONG, 3)]))[0].allowed
        assert await lookup.take([Take("l", 10, LONG, 11)]) == [Taken(allowed=False, retry_after=math.inf)]

    async def test_to_ask_takes_nothing(self, lookup: LookupStore) -> None:
        ask, take = Take("l", 2, LONG, 0), Take("l", 2, LONG)
        assert await lookup.take([ask]) == [Taken(allowed=True)]
        assert (await lookup.take([take]))[0].allowed
        assert [(await lookup.take([ask]))[0].allowed for _ in range(3)] == [True, True, True]
        assert (await lookup.take([take]))[0].allowed
        asked = (await lookup.take([ask]))[0]
        assert not asked.allowed
        assert 0 < asked.retry_after <= LONG / 2

    async def test_limits_of_one_call_are_judged_each_for_itself(self, lookup: LookupStore) -> None:
        await lookup.take([Take("full", 1, LONG)])
        wanted = [Take("z", 1, LONG), Take("full", 1, LONG), Take("a", 5, LONG, 9), Take("ask", 1, LONG, 0)]
        assert [answer.allowed for answer in await lookup.take(wanted)] == [True, False, False, True]
        again = [Take("z", 1, LONG, 0), Take("a", 5, LONG, 5), Take("ask", 1, LONG)]
        assert [answer.allowed for answer in await lookup.take(again)] == [False, True, True]
        assert await lookup.take([]) == []

    async def test_calls_on_the_same_limits_in_any_order_all_end(self, lookup: LookupStore) -> None:
        keys = [f"l{number}" for number in range(10)]
        orders = [keys, keys[::-1]] * 10
        answers = await asyncio.gather(*(lookup.take([Take(key, 100, LONG) for key in order]) for order in orders))
        assert all(answer.allowed for answered in answers for answer in answered)
        left = await lookup.take([Take(key, 100, LONG, 80) for key in keys])
        assert all(answer.allowed for answer in left)
        assert not (await lookup.take([Take(keys[0], 100, LONG, 80)]))[0].allowed

    async def test_values_are_kept_until_their_end(self, lookup: LookupStore) -> None:
        await lookup.put({"a": b"1", "b": b"\x00\xff", "empty": b""}, LONG)
        await lookup.put({"short": b"x"}, SHORT)
        assert await lookup.get(["a", "b", "empty", "none"]) == {"a": b"1", "b": b"\x00\xff", "empty": b""}
        await lookup.put({"a": b"2"}, LONG)
        assert await lookup.get(["a"]) == {"a": b"2"}

        async def gone() -> bool:
            return not await lookup.get(["short"])

        await until(gone, "a value ends")
        await lookup.put({"a": b"3"}, SHORT)

        async def all_gone() -> bool:
            return not await lookup.get(["a"])

        await until(all_gone, "the last end counts")
        assert await lookup.pop("a") is None

    async def test_of_many_who_add_a_value_one_does(self, lookup: LookupStore) -> None:
        found = await asyncio.gather(*(lookup.add("k", str(number).encode(), LONG) for number in range(50)))
        assert found.count(None) == 1
        winner = str(found.index(None)).encode()
        assert set(found) == {None, winner}
        assert await lookup.get(["k"]) == {"k": winner}

    async def test_an_ended_value_is_added_anew(self, lookup: LookupStore) -> None:
        assert await lookup.add("k", b"old", SHORT) is None

        async def added() -> bool:
            return await lookup.add("k", b"new", LONG) is None

        await until(added, "what has ended is not there")
        assert await lookup.get(["k"]) == {"k": b"new"}

    async def test_a_value_is_swapped_only_for_the_one_expected(self, lookup: LookupStore) -> None:
        assert not await lookup.swap("k", b"", b"1", LONG)
        await lookup.put({"k": b"0"}, LONG)
        done = await asyncio.gather(*(lookup.swap("k", b"0", str(n).encode(), LONG) for n in range(1, 30)))
        assert done.count(True) == 1
        assert await lookup.get(["k"]) == {"k": str(done.index(True) + 1).encode()}
        assert not await lookup.swap("k", b"0", b"x", LONG)

    async def test_of_many_who_pop_a_value_one_gets_it(self, lookup: LookupStore) -> None:
        await lookup.put({"token": b"secret"}, LONG)
        found = await asyncio.gather(*(lookup.pop("token") for _ in range(30)))
        assert Counter(found) == {b"secret": 1, None: 29}
        assert await lookup.get(["token"]) == {}

    async def test_a_set_has_room_for_so_many(self, lookup: LookupStore) -> None:
        assert await lookup.join("s", "a", LONG, 2) == 1
        assert await lookup.join("s", "b", LONG, 2) == 2
        assert await lookup.join("s", "c", LONG, 2) is None
        assert await lookup.join("s", "a", LONG, 2) == 2
        assert await lookup.members("s") == {"a", "b"}
        await lookup.leave("s", "a")
        await lookup.leave("s", "never")
        await lookup.leave("none", "a")
        assert await lookup.join("s", "c", LONG, 2) == 2
        assert await lookup.members("s") == {"b", "c"}
        # Who is in stays in, also where there would be no more room now.
        assert await lookup.join("s", "b", LONG, 1) == 2
        assert await lookup.join("s", "d", LONG, 1) is None
        assert await lookup.members("none") == frozenset()

    async def test_many_who_join_at_once_are_no_more_than_the_limit(self, lookup: LookupStore) -> None:
        sizes = await asyncio.gather(*(lookup.join("s", f"m{number}", LONG, 7) for number in range(40)))
        assert sorted(size for size in sizes if size is not None) == [1, 2, 3, 4, 5, 6, 7]
        assert len(await lookup.members("s")) == 7

    async def test_who_does_not_join_again_is_out(self, lookup: LookupStore) -> None:
        await lookup.join("s", "stays", LONG, 3)
        await lookup.join("s", "leaves", SHORT, 3)

        async def left() -> bool:
            return await lookup.members("s") == {"stays"}

        await until(left, "its time ends")
        assert await lookup.join("s", "new", LONG, 2) == 2
        await lookup.join("s", "new", SHORT, 2)
        await lookup.join("s", "stays", SHORT, 2)

        async def empty() -> bool:
            return not await lookup.members("s")

        await until(empty, "the last end counts")
        assert await lookup.join("s", "later", LONG, 1) == 1

    async def test_one_key_may_name_one_of_each_kind(self, lookup: LookupStore) -> None:
        await lookup.count("k", LONG)
        await lookup.take([Take("k", 1, LONG)])
        await lookup.put({"k": b"v"}, LONG)
        await lookup.join("k", "m", LONG, 1)
        assert await lookup.counts(["k"]) == {"k": 1}
        assert await lookup.get(["k"]) == {"k": b"v"}
        assert await lookup.members("k") == {"m"}
        await lookup.drop(["k", "none"])
        assert await lookup.counts(["k"]) == {}
        assert await lookup.get(["k"]) == {}
        assert await lookup.members("k") == frozenset()
        assert (await lookup.take([Take("k", 1, LONG)]))[0].allowed

    @pytest.mark.parametrize("seed", range(5))
    async def test_histories_of_any_calls_agree_with_the_simplest_store(self, lookup: LookupStore, seed: int) -> None:
        simplest, chance = LocalLookup(MemoryCells(), time.monotonic), random.Random(seed)
        for number in range(150):
            call = any_call(chance)
            found, expected = await call(lookup), await call(simplest)
            assert shown(found) == shown(expected), f"call {number}: {found} instead of {expected}"

    async def test_keys_and_values_of_any_content(self, lookup: LookupStore) -> None:
        keys = [lookup_key("test", part) for part in ("", "{a}", "a b", "ä\0\n", "\ud800", "x" * 5000, "%7Ba%7D", "/")]
        assert len(set(keys)) == len(keys)
        values = {key: bytes([number]) * (MAX_VALUE if number == 3 else 1) for number, key in enumerate(keys)}
        await lookup.put(values, LONG)
        assert await lookup.get(keys) == values
        many = {f"n{number}": str(number).encode() for number in range(MAX_KEYS)}
        await lookup.put(many, LONG)
        assert await lookup.get(list(many)) == many

    async def test_what_is_out_of_bounds_is_refused(self, lookup: LookupStore) -> None:
        wrong: list[Callable[[], Awaitable[object]]] = [
            lambda: lookup.count("", LONG),
            lambda: lookup.count("k" * 201, LONG),
            lambda: lookup.count("ä", LONG),
            lambda: lookup.count("k", 0),
            lambda: lookup.count("k", math.nan),
            lambda: lookup.count("k", math.inf),
            lambda: lookup.count("k", LONG, 0),
            lambda: lookup.put({"k": b"x" * (MAX_VALUE + 1)}, LONG),
            lambda: lookup.get([f"k{number}" for number in range(MAX_KEYS + 1)]),
            lambda: lookup.take([Take("k", 0, LONG)]),
            lambda: lookup.take([Take("k", 1_000_000, 1.0)]),
            lambda: lookup.take([Take("k", 1, LONG, -1)]),
            lambda: lookup.take([Take("k", 1, LONG), Take("k", 2, LONG)]),
            lambda: lookup.join("k", "", LONG, 1),
            lambda: lookup.join("k", "m", LONG, 0),
        ]
        for call in wrong:
            with pytest.raises(ValueError):
                await call()

    async def test_callers_who_go_away_leave_the_answers_of_others_right(self, lookup: LookupStore) -> None:
        values = {f"k{number}": str(number).encode() for number in range(50)}
        await lookup.put(values, LONG)
        for turn in range(10):
            tasks = [asyncio.create_task(lookup.get([key])) for key in values]
            for _ in range(turn):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            found = await asyncio.gather(*tasks[1::2])
            assert found == [{key: values[key]} for key in list(values)[1::2]]
            await asyncio.gather(*tasks[::2], return_exceptions=True)
        assert await lookup.get(list(values)) == values

    async def test_a_probe_tells_what_answers(self, lookup: LookupStore) -> None:
        assert await lookup.probe()
