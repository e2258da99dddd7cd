"""How a job works off its steps: one bounded, fenced transaction after the other, a pause when nothing is left."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from structlog.typing import FilteringBoundLogger

from posthorn_bus import HeldLease
from posthorn_model.errors import LeaseLost, PosthornError

Step = Callable[[], Awaitable[int]]
"""One transaction; returns how many rows it removed, less than the batch when nothing is left."""


async def work_off(
    lease: HeldLease,
    steps: Mapping[str, Step],
    *,
    batch: int,
    pause: float,
    log: FilteringBoundLogger,
    done: Callable[[str, int], None],
) -> None:
    """Run rounds of all steps until the lease is to be handed over.

    A step is repeated while it fills its batch. One that fails is logged and tried again in the next round; a lost
    lease ends everything. Killed at any point, the next holder goes on: each step finds its own work.
    """
    while lease.may_start():
        for name, step in steps.items():
            try:
                while lease.may_start():
                    removed = await step()
                    done(name, removed)
                    if removed < batch:
                        break
            except LeaseLost:
                log.warning("lease lost while working", role=lease.key, step=name)
                return
            except PosthornError as error:
                log.warning("step failed, it is tried again", role=lease.key, step=name, reason=error.public)
        await _pause(lease, pause)


async def _pause(lease: HeldLease, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await lease.ending.wait()
    except TimeoutError:
        return
