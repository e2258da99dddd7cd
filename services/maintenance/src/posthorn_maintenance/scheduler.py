"""Does what a role consists of while it is held: rounds of its jobs when they are due, and what is kept up always.

When a job ran and where it is stands in the database: a round begins once per interval in the whole cluster, and a new
holder goes on at the cursor of the last one. Each step is followed by a write under the lease; once that is refused,
the tenure's work is over, whatever the process still believes.
"""

import asyncio
from typing import Final

from posthorn_maintenance.jobs.job import Duty, Job, Progress, Tenure
from posthorn_model.errors import LeaseLost, PosthornError
from posthorn_node.backoff import Backoff
from posthorn_node.metrics import Metrics
from posthorn_storage.role_jobs import JobShare, JobStore

LOOK_SECONDS: Final = 60.0
"""A job that is due later than this is looked at again by then: its interval may be another one in other settings."""
LONGEST_PAUSE: Final = 60.0
"""Between tries of a step that fails."""
RETRY_SECONDS: Final = 1.0


class Scheduler:
    """See the module. It holds nothing between tenures."""

    def __init__(self, jobs: JobStore, metrics: Metrics) -> None:
        self._jobs = jobs
        labels = ["role", "job"]
        self._rounds = metrics.counter("role_job_rounds", "Rounds of a role's job that were done", labels)
        self._failures = metrics.counter("role_job_failures", "Steps of a role's job that failed", labels)
        self._refused = metrics.counter(
            "role_writes_refused", "Writes of a role that were refused, as another holder has it", ["role"]
        )
        self._seconds = metrics.histogram("role_step_seconds", "How long a step of a role's job took", labels)

    async def work(self, duty: Duty, tenure: Tenure) -> None:
        """Do all of `duty` until the role is to be handed over, or was lost."""
        try:
            async with asyncio.TaskGroup() as group:
                for job in duty.jobs:
                    group.create_task(self._repeat(job, tenure), name=f"{tenure.role}: {job.name}")
                for kept in duty.kept:
                    group.create_task(kept(tenure), name=f"{tenure.role}: kept")
                await tenure.lease.ending.wait()
        except* LeaseLost as lost:
            self._refused.labels(tenure.role).inc(len(lost.exceptions))
            tenure.log.warning("a late write was refused, another holds the role", reason=str(lost.exceptions[0]))

    async def _repeat(self, job: Job, tenure: Tenure) -> None:
        share = JobShare(tenure.fence, tenure.role, job.name, tenure.share.part, tenure.share.parts)
        backoff = Backoff(RETRY_SECONDS, LONGEST_PAUSE)
        while not tenure.ending:
            pause = RETRY_SECONDS
            try:
                cursor, due = await self._jobs.begin(share, job.interval)
                if cursor is None:
                    pause = min(due, LOOK_SECONDS)
                elif await self._round(job, share, tenure, cursor):
                    backoff.reset()
                    continue
                else:
                    pause = backoff.next()
            except LeaseLost:
                raise
            except PosthornError as error:
                tenure.log.warning("job put off, it is tried again", job=job.name, reason=error.public)
            await tenure.pause(pause)

    async def _round(self, job: Job, share: JobShare, tenure: Tenure, cursor: str) -> bool:
        """Step by step to the end of the round, or of the tenure; False when a step failed."""
        while not tenure.ending:
            if not tenure.lease.may_start():  # not renewed for a while: it is lost soon, or renewed late
                await tenure.pause(RETRY_SECONDS)
                continue
            progress = await self._step(job, share, tenure, cursor)
            if progress is None:
                return False
            await self._jobs.advance(share, progress.cursor, progress.worked, progress.problem)
            cursor = progress.cursor
            if not cursor:
                self._rounds.labels(tenure.role, job.name).inc()
                return True
        return True

    async def _step(self, job: Job, share: JobShare, tenure: Tenure, cursor: str) -> Progress | None:
        """One step; None when it failed, which the cluster knows then."""
        try:
            with self._seconds.labels(tenure.role, job.name).time():
                async with asyncio.timeout(job.limit):
                    return await job.step(tenure, cursor)
        except LeaseLost:
            raise
        except PosthornError as error:
            reason = error.public
        except TimeoutError:
            reason = f"a step took longer than {job.limit:.0f} s"
        except Exception as error:
            tenure.log.exception("job failed", job=job.name)
            reason = f"{type(error).__name__}: the log says more"
        self._failures.labels(tenure.role, job.name).inc()
        failures = await self._jobs.fail(share, reason)
        tenure.log.warning("job failed, it is tried again", job=job.name, reason=reason, failures=failures)
        return None
