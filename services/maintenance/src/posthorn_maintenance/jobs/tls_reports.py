"""reports.send: TLS reports on the sessions of the day before, to the domains that ask for them (RFC 8460).

One report after the other:
1. Its rows are read, and written as JSON, compressed. Its id is made of domain and day: it is the same each time.
2. It is posted to each https URI.
3. The message for all mailto URIs is stored; then, in one transaction under the lease, it is queued, and the report has
   ended.
Killed before 3 the next holder does it again, and what was posted is posted once more, under the same id. Where nobody
could be reached it is tried again later; a report that somebody has got is over.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from posthorn_mail_format.tls_reports import TlsReport, write_json, write_message
from posthorn_maintenance.dmarc.destinations import named
from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_maintenance.jobs.report_round import send_due
from posthorn_maintenance.web_push.client import PushClient
from posthorn_maintenance.web_push.push import PushRequest
from posthorn_model.errors import NotPermitted, Unavailable
from posthorn_model.events import QueueDue
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, site_of
from posthorn_node.metrics import Metrics
from posthorn_node.settings import TlsReportSettings
from posthorn_storage import Storage
from posthorn_storage.push.urls import BadUrl, PushUrl, push_url
from posthorn_storage.tls_reports import DueTlsReport

NAMESPACE: Final = uuid.UUID("6f6a3f0e-5a52-4a4e-9f3c-0f2f6a4f0c11")


@dataclass(frozen=True, slots=True)
class TlsPost:
    """What reports are made and sent with."""

    settings: TlsReportSettings
    hostname: str
    client: PushClient
    publish: Callable[[QueueDue], None]

    @property
    def sender(self) -> str:
        """Whose name the reports carry."""
        return self.settings.sender or f"postmaster@{self.hostname}"


class TlsReportSending:
    """The job's step."""

    def __init__(self, storage: Storage, post: TlsPost, metrics: Metrics) -> None:
        self._storage = storage
        self._post = post
        self._sent = metrics.counter("tls_reports", "TLS reports by what became of them", ["outcome"])

    async def step(self, tenure: Tenure, _cursor: str) -> Progress:
        """Send some of the reports that are due."""
        return await send_due(tenure, self._storage.tls_reports, self._sent, "TLS", self._send)

    async def _send(self, tenure: Tenure, due: DueTlsReport) -> str:
        """Returns what became of it: "sent", "nobody" wants it, or it is "too-large". Raises Unavailable."""
        report = await self._report(due)
        packed = await asyncio.to_thread(write_json, report)
        addresses = named(due.reporting.reports_to)
        urls = _urls(due.reporting.reports_to, self._post)
        outcome, message = "sent", None
        if len(packed) > self._post.settings.max_size:
            outcome = "too-large"
        elif not addresses and not urls:
            outcome = "nobody"
        else:
            problems = [problem for url in urls if (problem := await self._posted(url, packed))]
            if addresses:
                message = await self._message(report, packed, [(each.address, each.site) for each in addresses])
            elif len(problems) == len(urls):
                raise Unavailable("; ".join(problems))
        if await self._storage.tls_reports.end(tenure.fence, due, outcome, message) and message is not None:
            for recipient in message.recipients:
                self._post.publish(QueueDue(self._storage.queue.shard_of(recipient.site)))
        return outcome

    async def _report(self, due: DueTlsReport) -> TlsReport:
        begin = datetime.combine(due.day, time(), UTC)
        post, domain = self._post, due.domain
        return TlsReport(
            organization=post.settings.organization or post.hostname,
            contact=post.settings.contact or post.sender,
            report_id=f"{due.day:%Y%m%d}.tls.{domain}@{post.sender.rpartition('@')[2]}",
            domain=domain,
            begin=begin,
            end=begin + timedelta(days=1, seconds=-1),
            rows=await self._storage.tls_reports.rows(due),
        )

    async def _posted(self, url: PushUrl, packed: bytes) -> str:
        """Post it (RFC 8460 5.4); returns what went wrong, "" when nothing did."""
        request = PushRequest(url, {"Content-Type": "application/tlsrpt+gzip"}, packed)
        try:
            answer = await self._post.client.post(request)
        except (Unavailable, NotPermitted) as error:
            return f"{url.host}: {error.public}"
        return "" if 200 <= answer.status < 300 else f"{url.host} answers {answer.status}"

    async def _message(self, report: TlsReport, packed: bytes, to: Sequence[tuple[str, str]]) -> NewQueueMessage:
        sender = self._post.sender
        content = await asyncio.to_thread(
            write_message,
            report,
            packed,
            sender=sender,
            recipients=[address for address, _ in to],
            at=datetime.now(UTC),
        )
        return NewQueueMessage(
            sender=sender,
            blob=await self._storage.blobs.prepare(content, queued=True),
            recipients=[NewRecipient(address, site, notify="NEVER") for address, site in to],
            delivery_id=uuid.uuid5(NAMESPACE, report.report_id),
            signing_domain=site_of(sender),
        )


def _urls(uris: Sequence[str], post: TlsPost) -> Sequence[PushUrl]:
    """Where the report is posted to; URIs that lead nowhere are left out."""
    found = []
    for uri in uris:
        if uri.lower().startswith("https://"):
            try:
                found.append(push_url(uri, post.settings.allowed()))
            except BadUrl:
                continue
    return found
