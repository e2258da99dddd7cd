"""What is written about the attempts of one shard under its lease (flows.md C.3, C.5), together with other shards'.

What the database cannot take now is tried again as long as the lease holds: an outcome that is known is not given up
lightly. After the lease it is: the next owner treats it as in doubt.
"""

import asyncio
from collections.abc import Collection, Sequence

from structlog.typing import FilteringBoundLogger

from posthorn_bus.leases import HeldLease
from posthorn_model.errors import PosthornError
from posthorn_model.queue_items import Outcome
from posthorn_smtp_out.figures import Figures
from posthorn_storage.queue import Attempts, Finish, Report, Start

PAUSE = 0.2
"""Seconds between two tries at a database that does not answer."""


class Ledger:
    """The writes of one shard under one lease. `attempts` writes them with those of other shards."""

    def __init__(
        self, attempts: Attempts, shard: int, lease: HeldLease, *, figures: Figures, log: FilteringBoundLogger
    ) -> None:
        self._attempts = attempts
        self._shard = shard
        self._lease = lease
        self._figures = figures
        self._log = log
        self._open: set[int] = set()

    def is_open(self, recipients: Collection[int]) -> bool:
        """Whether the next owner would find one of them in flight: its intent is being written, its outcome is not."""
        return not self._open.isdisjoint(recipients)

    async def start(self, recipients: Sequence[int]) -> bool:
        """Write that these are about to be sent (C.3); False when not all of them may be. Raises Unavailable."""
        if not self._lease.is_valid():
            return False
        self._open.update(recipients)
        started = await self._attempts.start(Start(recipients, self._shard, self._lease.epoch))
        return started.issuperset(recipients) and self._lease.is_valid()

    async def note_attempt(self, recipients: Sequence[int]) -> None:
        """Write an attempt that got no further than the envelope, so that it counts and can have an outcome.

        Tries as long as the lease holds. Never raises.
        """
        self._open.update(recipients)
        while recipients and self._lease.is_valid():
            try:
                await self._attempts.start(Start(recipients, self._shard, self._lease.epoch))
            except PosthornError as error:
                self._log.warning("attempts wait for the database", reason=error.public, attempts=len(recipients))
                await asyncio.sleep(PAUSE)
            else:
                return

    async def finish(self, outcomes: Sequence[Outcome], reports: Sequence[Report]) -> None:
        """Write what came of an attempt (C.5), its reports in the same transaction. Raises for bugs alone."""
        await self._finish(outcomes, reports)
        self._open.difference_update(outcome.recipient for outcome in outcomes)

    async def _finish(self, outcomes: Sequence[Outcome], reports: Sequence[Report]) -> None:
        while outcomes and self._lease.is_valid():
            try:
                changed = await self._attempts.finish(Finish(outcomes, self._shard, reports))
            except PosthornError as error:
                if not error.temporary:
                    self._log.error("outcomes refused", reason=error.public, outcomes=len(outcomes), **error.fields)
                    return
                self._log.warning("outcomes wait for the database", reason=error.public, outcomes=len(outcomes))
                await asyncio.sleep(PAUSE)
            else:
                if changed < len(outcomes):
                    self._figures.fenced.inc(len(outcomes) - changed)
                    self._log.warning("outcomes came too late", dropped=len(outcomes) - changed)
                return
        if outcomes:
            self.give_up(outcomes)

    def give_up(self, outcomes: Sequence[Outcome]) -> None:
        """Tell that these will not be written: the lease is over, and the next owner finds the attempts in doubt."""
        self._figures.fenced.inc(len(outcomes))
        self._log.warning("outcomes given up with the lease", outcomes=len(outcomes))
