"""DMARC aggregate reports that are to be sent, in the tables `dmarc_report` and `dmarc_result`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TypeAlias

from posthorn_model.dmarc import AuthenticatedDomain, DmarcObservation, PublishedPolicy
from posthorn_model.queue_items import NewQueueMessage
from posthorn_storage.daily_reports import MAX_ROWS, DailyReports, Enqueue, Facts
from posthorn_storage.database import Database
from posthorn_storage.leases import Fence

Counts: TypeAlias = Mapping[DmarcObservation, int]


@dataclass(frozen=True, slots=True)
class DueReport:
    """A report whose day is over."""

    day: date
    published: PublishedPolicy
    failures: int

    @property
    def domain(self) -> str:
        """Whom it is for."""
        return self.published.domain


@dataclass(frozen=True, slots=True)
class CountedRow:
    """Messages of which the same was observed."""

    observation: DmarcObservation
    count: int


class DmarcStore:
    """All methods raise Unavailable, Overloaded; those given a fence raise LeaseLost when it does not hold any more."""

    def __init__(self, database: Database, enqueue: Enqueue, most: int = MAX_ROWS) -> None:
        self._reports = DailyReports("dmarc", database, enqueue, most)

    async def record(self, counts: Counts) -> None:
        """Add so many messages of each observation to the reports of today; see DmarcTally."""
        policies = {each.published.domain: asdict(each.published) for each in counts}
        await self._reports.record(
            policies, [(each.published.domain, _facts(each), count) for each, count in counts.items()]
        )

    async def due(self, limit: int) -> Sequence[DueReport]:
        """Reports to be sent now, those due the longest first."""
        return [DueReport(each.day, _published(each.policy), each.failures) for each in await self._reports.due(limit)]

    async def rows(self, report: DueReport) -> Sequence[CountedRow]:
        """What a report has to tell, the most frequent first."""
        found = await self._reports.rows(report.day, report.domain)
        return [CountedRow(_observation(report.published, facts), count) for facts, count in found]

    async def end(self, fence: Fence, report: DueReport, outcome: str, message: NewQueueMessage | None) -> bool:
        """Write what became of a report, with the message that carries it, in one transaction.

        False when it had ended before; then nothing is queued.
        """
        return await self._reports.end(fence, report.day, report.domain, outcome, message)

    async def put_off(self, fence: Fence, report: DueReport, problem: str, pause: float) -> None:
        """Try again in `pause` seconds."""
        await self._reports.put_off(fence, report.day, report.domain, problem, pause)

    async def trim(self, limit: int) -> int:
        """Remove what is older than a month, at most `limit` rows of each table; returns how many there were."""
        return await self._reports.trim(limit)


def _facts(each: DmarcObservation) -> Facts:
    """Everything but the policy."""
    facts = asdict(each)
    del facts["published"]
    return facts


def _published(facts: Facts) -> PublishedPolicy:
    return PublishedPolicy(**{**facts, "reports_to": tuple(facts["reports_to"])})


def _observation(published: PublishedPolicy, facts: Facts) -> DmarcObservation:
    dkim = tuple(AuthenticatedDomain(**each) for each in facts.pop("dkim"))
    spf = tuple(AuthenticatedDomain(**each) for each in facts.pop("spf"))
    return DmarcObservation(published, **facts, dkim=dkim, spf=spf)
