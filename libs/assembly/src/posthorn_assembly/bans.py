"""Banned networks of the database in this process: read at the start, on a notice, and now and then.

A notice is a hint (design law 1): without one a ban is seen with a heartbeat, or at the next look at the latest.
"""

import asyncio
import math
from functools import partial

from structlog.typing import FilteringBoundLogger

from posthorn_model.errors import PosthornError
from posthorn_model.ports import Clock
from posthorn_node.bans import Bans
from posthorn_node.node import Node
from posthorn_storage import Storage
from posthorn_storage.bans import BanStore, Network

LOOK_SECONDS = 30.0
PAUSE_SECONDS = 0.2
"""Between two looks at least, however many bans there are at once."""
MAX_TOLD = 20
"""Lines in the log about one look."""


class KnownBans:
    """Keeps `bans` up with the database."""

    def __init__(self, store: BanStore, bans: Bans, clock: Clock, log: FilteringBoundLogger) -> None:
        self._store = store
        self._bans = bans
        self._clock = clock
        self._log = log
        self._wanted = asyncio.Event()
        self._known: frozenset[Network] = frozenset()

    def heard(self) -> None:
        """Something has changed, or may have: look soon. May be called from anywhere in the loop."""
        self._wanted.set()

    async def look(self) -> None:
        """Read them all. A database that does not answer is told; what is known stays."""
        asked = self._clock.monotonic()
        try:
            found = await self._store.all()
        except PosthornError as error:
            self._log.warning("bans not looked at, tried again", reason=error.public)
            return
        for each in [each for each in found if each.network not in self._known][:MAX_TOLD]:
            self._log.warning("banned", network=str(each.network), reason=each.reason, source=each.source)
        self._known = frozenset(each.network for each in found)
        self._bans.replace(
            (each.network, math.inf if each.seconds_left is None else asked + each.seconds_left) for each in found
        )

    async def keep(self) -> None:
        """Look for ever, after each call of `heard` and every LOOK_SECONDS."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            await self.look()


def known_bans(node: Node, storage: Storage) -> KnownBans:
    """Those of a process, with their metric; nothing is read yet."""
    gauge = node.metrics.gauge("bans", "Networks that are banned, as this process knows them")
    gauge.set_function(partial(_count, node.bans))
    return KnownBans(storage.bans, node.bans, node.clock, node.log)


def _count(bans: Bans) -> float:
    return float(bans.count)
