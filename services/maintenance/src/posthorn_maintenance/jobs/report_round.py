"""One round of `reports.send`, of whatever kind the reports are: what is due is sent, put off, or given up."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Final, Protocol, TypeVar

from prometheus_client import Counter

from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_model.errors import LeaseLost, PosthornError
from posthorn_model.queue_items import NewQueueMessage
from posthorn_storage.leases import Fence

BATCH: Final = 5
TRIM: Final = 1000
REPORT_SECONDS: Final = 60.0
"""How often it is looked for reports that are due; each has a time of its own after midnight."""
LAST_FAILURE: Final = 8
"""After so many failures in a row, a day and a half, a report is given up."""


class Due(Protocol):
    """A report that is due."""

    @property
    def day(self) -> date: ...
    @property
    def domain(self) -> str:
        """Whom it is for."""
        ...

    @property
    def failures(self) -> int: ...


DueT = TypeVar("DueT", bound=Due)


class Reports(Protocol[DueT]):
    """Where they are kept: DmarcStore, TlsReportStore."""

    async def due(self, limit: int) -> Sequence[DueT]: ...
    async def end(self, fence: Fence, report: DueT, outcome: str, message: NewQueueMessage | None) -> bool: ...
    async def put_off(self, fence: Fence, report: DueT, problem: str, pause: float) -> None: ...
    async def trim(self, limit: int) -> int: ...


async def send_due(
    tenure: Tenure, reports: Reports[DueT], sent: Counter, kind: str, send: Callable[[Tenure, DueT], Awaitable[str]]
) -> Progress:
    """Send some of the reports that are due. Of several shares of the role the first one does.

    `send` returns what became of a report, and raises what put it off; `sent` counts by outcome, `kind` is for the log.
    """
    if tenure.share.part:
        return Progress()
    due = await reports.due(BATCH)
    problems = []
    for report in due:
        if tenure.ending:
            break
        try:
            outcome = await send(tenure, report)
        except LeaseLost:
            raise
        except PosthornError as error:
            if report.failures + 1 >= LAST_FAILURE:
                await reports.end(tenure.fence, report, "given-up", None)
                sent.labels("given-up").inc()
            else:
                await reports.put_off(tenure.fence, report, error.public, 600.0 * 2.0**report.failures)
            told = {"domain": report.domain, "day": report.day.isoformat()}
            tenure.log.warning(f"{kind} report not sent", **told, reason=error.public)
            problems.append(f"{report.domain}: {error.public}")
            continue
        sent.labels(outcome).inc()
        tenure.log.info(f"{kind} report", domain=report.domain, day=report.day.isoformat(), outcome=outcome)
    if not due:
        await reports.trim(TRIM)
    return Progress("more" if len(due) == BATCH else "", len(due), "; ".join(problems) or None)
