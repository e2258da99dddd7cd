"""Messages that have arrived are worked on by turns, so that the loop hears of other things in between.

A scan takes the process for most of a millisecond. Where five clients end their messages at once, five scans in a row
would keep the answer of the database waiting, and with it the batch that is being stored (decision 0054).
"""

import asyncio

MOST = 5
"""Who finds as many waiting does not wait: a busy process has no time to look around for each."""


class Turns:
    """One after another, each once the loop has looked for input."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0

    async def take(self) -> None:
        """Wait for the next turn; what follows, up to the next wait, is what it is for."""
        if self._waiting >= MOST:
            return
        self._waiting += 1
        try:
            async with self._lock:
                await asyncio.sleep(0)
        finally:
            self._waiting -= 1
