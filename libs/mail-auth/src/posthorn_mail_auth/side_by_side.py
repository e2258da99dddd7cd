"""Waiting for several answers at once, where what is known already costs no task.

Most questions to DNS are answered from what is kept. So work is run at once up to its first wait, as the eager tasks of
later Pythons are, and only what has to wait becomes a task: four tasks with their timers cost more than a signature.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")
Known = TypeVar("Known", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Done(Generic[Known]):
    """An answer that was there at once; await it as often as you like."""

    answer: Known

    def __await__(self) -> Generator[Any, Any, Known]:
        yield from ()
        return self.answer


@dataclass(slots=True, eq=False)
class Begun(Generic[Answer]):
    """Work that has come to its first wait; await it once, in whatever task."""

    _work: Coroutine[Any, Any, Answer]
    _wait: Any

    def __await__(self) -> Generator[Any, Any, Answer]:
        try:
            while True:
                try:
                    yield self._wait
                except BaseException as error:  # noqa: BLE001 (a cancellation too is the work's own to end by)
                    self._wait = self._work.throw(error)
                else:
                    self._wait = self._work.send(None)
        except StopIteration as end:
            answer: Answer = end.value
            return answer


def begin(work: Coroutine[Any, Any, Answer]) -> Done[Answer] | Begun[Answer]:
    """Run the work up to its first wait; raises what it raises until then.

    So far it runs in the caller's task: nothing in it may ask for the current task (as asyncio.timeout does) before.
    """
    try:
        return Begun(work, work.send(None))
    except StopIteration as end:
        return Done(end.value)


async def all_of(works: Sequence[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """What each gives, in their order; the first that raises ends the wait."""
    if len(works) == 1:
        return [await works[0]]
    begun: list[Awaitable[Answer]] = []
    try:
        begun.extend(map(begin, works))
    except BaseException:
        for work in works:
            work.close()
        raise
    return await ends_of(begun)


async def ends_of(waits: Sequence[Awaitable[Any]]) -> list[Any]:
    """What each gives, in their order; the first that raises ends the wait. A single one waits in this task."""
    if sum(map(_waits, waits)) > 1:
        return list(await asyncio.gather(*waits))
    return [await wait for wait in waits]


def _waits(wait: Awaitable[Any]) -> bool:
    return not (isinstance(wait, Done) or (isinstance(wait, asyncio.Future) and wait.done()))
