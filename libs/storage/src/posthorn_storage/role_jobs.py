"""The jobs of the cluster's roles: when each ran, where it is, under which epoch, and what went wrong last.

A round of a job begins once per interval in the whole cluster, by the database's clock, and goes on at its cursor
whoever works on it. Every write carries the lease of its role and changes nothing under another epoch. It runs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from posthorn_model.errors import LeaseLost
from posthorn_model.ids import Epoch
from posthorn_storage.database import Database, Row
from posthorn_storage.leases import Fence

MAX_CURSOR: Final = 1000
MAX_PROBLEM: Final = 500

# A start that lies in the future is of a clock that was set back: it holds up nobody.
BEGIN = """
WITH fence AS MATERIALIZED (SELECT epoch FROM lease WHERE key = $1 AND epoch = $2 FOR SHARE), begun AS (
    INSERT INTO role_job AS j (role, job, share, shares, epoch) SELECT $3, $4, $5, $6, epoch FROM fence
    ON CONFLICT (role, job, share) DO UPDATE SET
        epoch = EXCLUDED.epoch,
        shares = EXCLUDED.shares,
        cursor = CASE WHEN j.running AND j.shares = EXCLUDED.shares THEN j.cursor ELSE '' END,
        worked = CASE WHEN j.running AND j.shares = EXCLUDED.shares THEN j.worked ELSE 0 END,
        started_at = CASE WHEN j.running THEN j.started_at ELSE now() END,
        running = true
    WHERE j.running OR j.started_at <= now() - make_interval(secs => $7) OR j.started_at > now()
    RETURNING cursor
)
SELECT EXISTS (SELECT FROM fence) AS held, (SELECT cursor FROM begun) AS cursor, coalesce((
    SELECT extract(epoch FROM started_at - now()) + $7 FROM role_job WHERE role = $3 AND job = $4 AND share = $5
), 0)::float8 AS seconds
"""

_MINE = """
FROM (SELECT epoch FROM lease WHERE key = $1 AND epoch = $2 FOR SHARE) AS fence
WHERE j.role = $3 AND j.job = $4 AND j.share = $5 AND j.epoch = fence.epoch
"""

ADVANCE = f"""
UPDATE role_job j SET
    cursor = $6, worked = j.worked + $7, failures = 0, running = $6 <> '',
    finished_at = CASE WHEN $6 = '' THEN now() ELSE j.finished_at END,
    problem = coalesce($8, j.problem), problem_at = CASE WHEN $8::text IS NULL THEN j.problem_at ELSE now() END
{_MINE}
"""  # noqa: S608  constants only

FAIL = f"""
UPDATE role_job j SET failures = least(j.failures + 1, 32000), problem = $6, problem_at = now()
{_MINE} RETURNING j.failures
"""  # noqa: S608  constants only

ALL = "SELECT * FROM role_job ORDER BY role, job, share LIMIT 10000"


@dataclass(frozen=True, slots=True)
class JobShare:
    """One job, in the share that a lease stands for."""

    fence: Fence
    role: str
    job: str
    share: int = 0
    shares: int = 1
    """When their number changes, a round that is under way begins anew."""


@dataclass(frozen=True, slots=True)
class JobState:
    """A job in one share, as the cluster knows it."""

    role: str
    job: str
    share: int
    shares: int
    epoch: Epoch
    cursor: str
    """Where the round goes on; empty at its beginning and when it is over."""
    worked: int
    """What the round has done so far, in the job's own unit."""
    started_at: datetime
    finished_at: datetime | None
    """When the last round ended that did."""
    running: bool
    """A round is under way, or was cut short and goes on with the next holder."""
    failures: int
    """Steps that failed in a row, the last ones."""
    problem: str | None
    problem_at: datetime | None


class JobStore:
    """The table `role_job`. All methods raise Unavailable, Overloaded; those that write raise LeaseLost."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, job: JobShare, interval: float) -> tuple[str | None, float]:
        """Begin a round if `interval` seconds have passed since the last one began, or go on with one under way.

        Returns the cursor to go on at ("" at the beginning); or None and the seconds until a round is due.
        """
        row = await self._database.fetchrow(BEGIN, *_columns(job), job.shares, float(interval))
        assert row is not None
        if not row["held"]:
            raise _lost(job)
        return (None, max(0.0, row["seconds"])) if row["cursor"] is None else (row["cursor"], 0.0)

    async def advance(self, job: JobShare, cursor: str, worked: int, problem: str | None = None) -> None:
        """Keep where the round goes on; an empty `cursor` ends it. `problem` is one that did not stop it."""
        if len(cursor) > MAX_CURSOR:
            raise ValueError(f"the cursor of {job.role} {job.job} is longer than {MAX_CURSOR}")
        if not await self._database.execute(ADVANCE, *_columns(job), cursor, worked, _told(problem)):
            raise _lost(job)

    async def fail(self, job: JobShare, problem: str) -> int:
        """Note that a step failed; the cursor stays. Returns how many have failed in a row."""
        failures = await self._database.fetchval(FAIL, *_columns(job), _told(problem))
        if failures is None:
            raise _lost(job)
        return int(failures)

    async def all(self) -> Sequence[JobState]:
        """Every job that ever ran, by role and share."""
        return [_state(row) for row in await self._database.fetch(ALL)]


def _columns(job: JobShare) -> tuple[object, ...]:
    return job.fence.key, job.fence.epoch, job.role, job.job, job.share


def _told(problem: str | None) -> str | None:
    return None if problem is None else problem.replace("\0", "")[:MAX_PROBLEM]


def _lost(job: JobShare) -> LeaseLost:
    return LeaseLost(f"{job.fence.key} has another epoch by now", key=job.fence.key, epoch=job.fence.epoch)


def _state(row: Row) -> JobState:
    return JobState(
        role=row["role"],
        job=row["job"],
        share=row["share"],
        shares=row["shares"],
        epoch=Epoch(row["epoch"]),
        cursor=row["cursor"],
        worked=row["worked"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        running=row["running"],
        failures=row["failures"],
        problem=row["problem"],
        problem_at=row["problem_at"],
    )
