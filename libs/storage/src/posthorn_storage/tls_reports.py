"""TLS reports that are to be sent (RFC 8460), in the tables `tls_report` and `tls_result`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TypeAlias

from posthorn_model.queue_items import NewQueueMessage
from posthorn_model.tls_reports import TlsPolicy, TlsReporting, TlsSession
from posthorn_storage.daily_reports import MAX_ROWS, DailyReports, Enqueue, Facts
from posthorn_storage.database import Database
from posthorn_storage.leases import Fence

SessionCounts: TypeAlias = Mapping[tuple[TlsReporting, TlsSession], int]


@dataclass(frozen=True, slots=True)
class DueTlsReport:
    """A report whose day is over."""

    day: date
    reporting: TlsReporting
    failures: int

    @property
    def domain(self) -> str:
        """Whom it is for."""
        return self.reporting.domain


class TlsReportStore:
    """All methods raise Unavailable, Overloaded; those given a fence raise LeaseLost when it does not hold any more."""

    def __init__(self, database: Database, enqueue: Enqueue, most: int = MAX_ROWS) -> None:
        self._reports = DailyReports("tls", database, enqueue, most)

    async def record(self, counts: SessionCounts) -> None:
        """Add so many sessions of each kind to the reports of today."""
        policies: dict[str, Facts] = {each.domain: {"reports_to": each.reports_to} for each, _ in counts}
        await self._reports.record(
            policies, [(to.domain, asdict(session), count) for (to, session), count in counts.items()]
        )

    async def due(self, limit: int) -> Sequence[DueTlsReport]:
        """Reports to be sent now, those due the longest first."""
        return [
            DueTlsReport(each.day, TlsReporting(each.domain, tuple(each.policy["reports_to"])), each.failures)
            for each in await self._reports.due(limit)
        ]

    async def rows(self, report: DueTlsReport) -> Sequence[tuple[TlsSession, int]]:
        """What a report has to tell, the most frequent first."""
        found = await self._reports.rows(report.day, report.domain)
        return [(_session(facts), count) for facts, count in found]

    async def end(self, fence: Fence, report: DueTlsReport, outcome: str, message: NewQueueMessage | None) -> bool:
        """Write what became of a report, with the message that carries it, in one transaction.

        False when it had ended before; then nothing is queued.
        """
        return await self._reports.end(fence, report.day, report.domain, outcome, message)

    async def put_off(self, fence: Fence, report: DueTlsReport, problem: str, pause: float) -> None:
        """Try again in `pause` seconds."""
        await self._reports.put_off(fence, report.day, report.domain, problem, pause)

    async def trim(self, limit: int) -> int:
        """Remove what is older than a month, at most `limit` rows of each table; returns how many there were."""
        return await self._reports.trim(limit)


def _session(facts: Facts) -> TlsSession:
    policy = facts.pop("policy")
    policy = TlsPolicy(policy["type"], policy["domain"], tuple(policy["strings"]), tuple(policy["mx"]))
    return TlsSession(policy, **facts)
