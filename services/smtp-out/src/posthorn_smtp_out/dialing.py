"""A connection to the first address of a list that takes one, without long waits for those that do not (RFC 8305)."""

import asyncio
from collections.abc import Awaitable, Callable

from posthorn_smtp_out.channel import Channel, ChannelLost
from posthorn_smtp_out.routes import Hop

DELAY = 0.25
"""Seconds after which the next address is tried beside the one that has not answered (RFC 8305 5)."""

Connect = Callable[[Hop], Awaitable[Channel]]


async def connected(left: list[Hop], connect: Connect, may_race: Callable[[], bool]) -> tuple[Hop, Channel]:
    """Connect to one of the hops of the first host in `left`, and take out of the list what need not be tried again.

    The next address is tried when one has failed; also, if `may_race` lets it, when one is slow. Raises ChannelLost
    with the last failure when none can be reached; then none of that host is left.
    """
    host, running = left[0].host, dict[asyncio.Task[Channel], Hop]()
    failure: ChannelLost | None = None

    def next_one() -> bool:
        if not left or left[0].host != host:
            return False
        hop = left.pop(0)
        running[asyncio.create_task(_connect(connect, hop), name=f"connect {hop.address}")] = hop
        return True

    try:
        while running or next_one():
            done, _ = await asyncio.wait(running, timeout=DELAY, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                hop, error = running.pop(task), task.exception()
                if error is None:
                    left[:0] = running.values()
                    return hop, task.result()
                if not isinstance(error, ChannelLost):
                    raise error
                failure = ChannelLost(f"{hop}: {error}")
            if (done and not running) or (not done and left and left[0].host == host and may_race()):
                next_one()
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_drop)
    raise failure or ChannelLost("no address to try")


async def _connect(connect: Connect, hop: Hop) -> Channel:
    return await connect(hop)


def _drop(task: "asyncio.Task[Channel]") -> None:
    """A connection that came too late is nobody's."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()
