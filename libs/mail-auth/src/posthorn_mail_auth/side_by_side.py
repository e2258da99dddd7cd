"""Waiting for several answers at once, where a single one costs no task: most messages ask one question of a kind."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

Answer = TypeVar("Answer")


async def all_of(waits: Sequence[Awaitable[Answer]]) -> list[Answer]:
    """What each gives, in their order; the first that raises ends the wait."""
    if len(waits) == 1:
        return [await waits[0]]
    return list(await asyncio.gather(*waits))
