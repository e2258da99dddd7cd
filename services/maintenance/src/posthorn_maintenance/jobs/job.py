"""What the work of a role is made of: jobs, done round by round, and what is kept up all the time.

This is where a role plugs in: a module of this package makes a Job (or a Kept), `posthorn_maintenance.duties` says
under which role it runs, and `cluster.roles` of the settings has the role's key. A job knows nothing of schedules and
elections; it is handed a Tenure and a cursor, does one bounded step, and says where the next one goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from structlog.typing import FilteringBoundLogger

from posthorn_bus import HeldLease
from posthorn_storage import Fence
from posthorn_storage.purge import WHOLE, Share

STEP_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Tenure:
    """A role, or one share of it, while this process holds it."""

    role: str
    lease: HeldLease
    log: FilteringBoundLogger
    share: Share = WHOLE

    @property
    def fence(self) -> Fence:
        """What every write carries: under another epoch of the lease it changes nothing."""
        return Fence(self.lease.key, self.lease.epoch)

    @property
    def ending(self) -> bool:
        """Whether the role is to be handed over, or was lost."""
        return self.lease.ending.is_set()

    async def pause(self, seconds: float) -> None:
        """Wait for so long, or until the role is to be handed over."""
        try:
            async with asyncio.timeout(seconds):
                await self.lease.ending.wait()
        except TimeoutError:
            return


@dataclass(frozen=True, slots=True)
class Progress:
    """What came of one step."""

    cursor: str = ""
    """Where the next step goes on, in the job's own words (up to 1000 characters); empty: the round is over."""
    worked: int = 0
    """How much was done, in the job's own unit."""
    problem: str | None = None
    """What went wrong and did not stop the round."""


Step: TypeAlias = Callable[[Tenure, str], Awaitable[Progress]]
"""One bounded step from a cursor ("" at the beginning of a round).

Doing it twice must be harmless: a process may die before the new cursor is kept. What it raises as PosthornError is the
job's last problem, and the step is tried again after a growing pause.
"""


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is done once per `interval` in the whole cluster, or once per share of its role."""

    name: str
    interval: float
    """Seconds from the beginning of a round to the beginning of the next one."""
    step: Step
    limit: float = STEP_SECONDS
    """Seconds that a step may take; then it is cancelled and counts as failed."""


Kept: TypeAlias = Callable[[Tenure], Coroutine[Any, Any, None]]
"""Work without rounds, with cursors of its own; it goes on until the tenure ends."""


@dataclass(frozen=True, slots=True)
class Duty:
    """All that the holder of a role does."""

    jobs: Sequence[Job] = ()
    kept: Sequence[Kept] = ()
