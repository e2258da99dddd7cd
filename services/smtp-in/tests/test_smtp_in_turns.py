"""Work by turns."""

import asyncio

from posthorn_smtp_in.turns import MOST, Turns


async def test_the_loop_looks_around_between_two_turns() -> None:
    turns = Turns()
    done: list[str] = []

    async def work(name: str) -> None:
        await turns.take()
        done.append(name)
        asyncio.get_running_loop().call_soon(done.append, "looked")

    await asyncio.gather(*(work(str(number)) for number in range(3)))
    assert done[:5] == ["0", "looked", "1", "looked", "2"]


async def test_where_many_wait_nobody_more_does() -> None:
    turns = Turns()
    done: list[int] = []

    async def work(number: int) -> None:
        await turns.take()
        done.append(number)

    await asyncio.gather(*(work(number) for number in range(MOST + 2)))
    assert done[:2] == [MOST, MOST + 1]
    assert sorted(done) == list(range(MOST + 2))


async def test_who_is_cancelled_leaves_the_turn_to_the_next() -> None:
    turns = Turns()
    tasks = [asyncio.create_task(turns.take()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks[:2]:
        task.cancel()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True, True, False]
    await turns.take()
