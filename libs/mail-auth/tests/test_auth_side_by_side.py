"""Work that has begun before anybody waits for it: it ends as it would in a task of its own."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from posthorn_mail_auth.side_by_side import Begun, Done, all_of, begin, ends_of


async def known(answer: str) -> str:
    return answer


async def asked(answer: "asyncio.Future[str]") -> str:
    return await answer


def future() -> "asyncio.Future[str]":
    return asyncio.get_running_loop().create_future()


async def test_what_is_known_takes_neither_a_task_nor_a_turn_of_the_loop() -> None:
    turns: list[str] = []
    asyncio.get_running_loop().call_soon(turns.append, "turn")
    begun = begin(known("a"))
    assert isinstance(begun, Done)
    assert [await begun, await begun, begun.answer] == ["a"] * 3  # as often as one likes
    assert await all_of([known("b"), known("c")]) == ["b", "c"]
    assert await ends_of([begun, begun]) == ["a", "a"]
    assert turns == []


async def test_several_wait_at_the_same_time() -> None:
    first, second = future(), future()

    async def after(answer: "asyncio.Future[str]") -> str:
        second.set_result("second")  # only because it has begun can the other one end
        return await answer

    async def before() -> str:
        found = await second
        first.set_result("first")
        return found

    async with asyncio.timeout(60):
        assert await all_of([before(), known("known"), after(first)]) == ["second", "known", "first"]


async def test_a_single_one_waits_in_the_task_that_asks() -> None:
    answer = future()
    asked_in: list[asyncio.Task[Any] | None] = []

    async def work() -> str:
        found = await answer
        asked_in.append(asyncio.current_task())
        return found

    begun = [begin(known("known")), begin(work())]
    asyncio.get_running_loop().call_soon(answer.set_result, "told")
    assert await ends_of(begun) == ["known", "told"]
    assert asked_in == [asyncio.current_task()]


@pytest.mark.parametrize("with_others", [False, True])
async def test_what_it_raises_is_raised(with_others: bool) -> None:
    answer = future()
    begun = begin(asked(answer))
    assert isinstance(begun, Begun)
    answer.set_exception(ValueError("told later"))
    with pytest.raises(ValueError, match="told later"):
        await ends_of([begun, begin(asked(future()))] if with_others else [begun])

    async def broken() -> str:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        begin(broken())
    untouched: list[Coroutine[Any, Any, str]] = [asked(future()), broken(), known("never asked")]
    with pytest.raises(ValueError, match="at once"):
        await all_of(untouched)
    for work in untouched:
        with pytest.raises(RuntimeError, match="already"):
            work.send(None)


async def test_it_may_end_in_its_own_way_when_it_is_cancelled_or_late() -> None:
    async def stubborn() -> str:
        for _ in range(2):
            try:
                await future()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
        return "ended by itself"

    task = asyncio.ensure_future(_of(begin(stubborn())))
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
    assert await task == "ended by itself"
    late = begin(asked(future()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await late


async def _of(begun: "Done[str] | Begun[str]") -> str:
    return await begun
