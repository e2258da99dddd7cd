"""reports.send: DMARC aggregate reports on the mail of the day before, to the domains that ask for them (RFC 7489 7.2).

One report after the other:
1. DNS is asked which of the wanted addresses may get it.
2. Its rows are read, and written as XML, compressed. Its id is made of domain and day: it is the same each time. Who
   takes less octets than it has gets none.
3. The message is stored; then, in one transaction under the lease, it is queued, and the report has ended.
Killed before 3 nothing was sent, and the next holder does it again; after it the report is over. What a late holder
queues is refused by the lease.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from posthorn_mail_format.aggregate_reports import AggregateReport, write_message, write_xml
from posthorn_maintenance.dmarc import destinations
from posthorn_maintenance.dmarc.destinations import Destination
from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_maintenance.jobs.report_round import send_due
from posthorn_model.dmarc import DmarcObservation
from posthorn_model.events import QueueDue
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, site_of
from posthorn_model.resolving import Resolver
from posthorn_node.metrics import Metrics
from posthorn_node.settings import DmarcReportSettings
from posthorn_storage import Storage
from posthorn_storage.dmarc import DueReport

NAMESPACE: Final = uuid.UUID("0b0d4c3e-6f53-4a3f-9a0e-51f3a6f6f7d2")


@dataclass(frozen=True, slots=True)
class Post:
    """What reports are made with. `organization` tells the organizational domain of a domain."""

    settings: DmarcReportSettings
    hostname: str
    resolver: Resolver
    organization: Callable[[str], str]
    publish: Callable[[QueueDue], None]

    @property
    def sender(self) -> str:
        """Whose name the reports carry."""
        return self.settings.sender or f"postmaster@{self.hostname}"


class ReportSending:
    """The job's step."""

    def __init__(self, storage: Storage, post: Post, metrics: Metrics) -> None:
        self._storage = storage
        self._post = post
        self._sent = metrics.counter("dmarc_reports", "DMARC aggregate reports by what became of them", ["outcome"])

    async def step(self, tenure: Tenure, _cursor: str) -> Progress:
        """Send some of the reports that are due."""
        return await send_due(tenure, self._storage.dmarc, self._sent, "DMARC", self._send)

    async def _send(self, tenure: Tenure, report: DueReport) -> str:
        """Returns what became of it: "sent", "nobody" wants it, or it is "too-large"."""
        domain, post = report.domain, self._post
        willing = await destinations.willing(post.resolver, domain, report.published.reports_to, post.organization)
        outcome, message = "nobody", None
        if willing:
            made = self._report(
                report, [(row.observation, row.count) for row in await self._storage.dmarc.rows(report)]
            )
            outcome, message = await self._message(made, report, willing)
        if await self._storage.dmarc.end(tenure.fence, report, outcome, message) and message is not None:
            for recipient in message.recipients:
                post.publish(QueueDue(self._storage.queue.shard_of(recipient.site)))
        return outcome

    def _report(self, report: DueReport, rows: Sequence[tuple[DmarcObservation, int]]) -> AggregateReport:
        begin = datetime.combine(report.day, time(), UTC)
        sender, settings = self._post.sender, self._post.settings
        identity = f"{report.day:%Y%m%d}.{report.domain}@{sender.rpartition('@')[2]}"
        return AggregateReport(
            organization=settings.organization or self._post.hostname,
            email=sender,
            report_id=identity,
            begin=int(begin.timestamp()),
            end=int((begin + timedelta(days=1)).timestamp()) - 1,
            published=report.published,
            rows=rows,
            contact=settings.contact,
        )

    async def _message(
        self, made: AggregateReport, report: DueReport, willing: Sequence[Destination]
    ) -> tuple[str, NewQueueMessage | None]:
        sender = self._post.sender
        xml = await asyncio.to_thread(write_xml, made)
        content = await self._written(made, xml, willing)
        taken = [each for each in willing if each.limit is None or len(content) <= each.limit]
        if not taken or len(content) > self._post.settings.max_size:
            return "too-large", None
        if len(taken) < len(willing):
            content = await self._written(made, xml, taken)
        return "sent", NewQueueMessage(
            sender=sender,
            blob=await self._storage.blobs.prepare(content, queued=True),
            recipients=[NewRecipient(each.address, each.site, notify="NEVER") for each in taken],
            delivery_id=uuid.uuid5(NAMESPACE, f"{report.day} {report.domain}"),
            signing_domain=site_of(sender),
        )

    async def _written(self, made: AggregateReport, xml: bytes, to: Sequence[Destination]) -> bytes:
        return await asyncio.to_thread(
            write_message,
            made,
            xml,
            receiver=self._post.sender.rpartition("@")[2],
            recipients=[each.address for each in to],
            at=datetime.now(UTC),
        )
