"""Trying again for ever: how every part of a bus that talks to others is run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

_log = logging.getLogger(__name__)

FIRST = 0.2
LONGEST = 2.0


async def for_ever(part: Callable[[], Awaitable[None]], name: str, expected: tuple[type[Exception], ...] = ()) -> None:
    """Run `part` again and again, whatever ends it, with a pause that grows (to 2 s) while it keeps failing soon.

    `expected` errors are one line in the log per reason, not one per try; others come with their trace.
    """
    loop = asyncio.get_running_loop()
    pause, told = FIRST, ""
    while True:
        began = loop.time()
        # In a task of its own: a cancellation that leaks out of a library must not look like ours.
        task = asyncio.create_task(_call(part), name=name)
        try:
            await asyncio.wait({task})
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        error = None if task.cancelled() else task.exception()
        if loop.time() - began > 2 * LONGEST:
            pause, told = FIRST, ""
        if error is not None and repr(error) != told:
            told = repr(error)
            trace = None if isinstance(error, expected) else error
            _log.warning("%s: %s, trying again", name, str(error) or told, exc_info=trace)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST)


async def _call(part: Callable[[], Awaitable[None]]) -> None:
    await part()


async def cancelled(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def first_of(*parts: Coroutine[Any, Any, object]) -> None:
    """Run all until one ends, then cancel the others. Raises what the one that ended raised."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
