"""reports.send: TLS reports by mail and to a real web server, once for each day of a domain, and what ends."""

import gzip
import json
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import structlog

from posthorn_bus import HeldLease, LeaseKeeper, LeaseTimes
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_maintenance.jobs.report_round import LAST_FAILURE
from posthorn_maintenance.jobs.tls_reports import TlsPost, TlsReportSending
from posthorn_maintenance.web_push.client import PushClient
from posthorn_model.clock import SystemClock
from posthorn_model.errors import LeaseLost
from posthorn_model.events import QueueDue
from posthorn_model.tls_reports import TlsPolicy, TlsReporting, TlsSession
from posthorn_node.metrics import Metrics
from posthorn_node.settings import TlsReportSettings
from posthorn_storage import Storage
from posthorn_testkit.push_service import PushService

pytestmark = pytest.mark.postgres
MAIL = TlsReporting("example.net", ("mailto:tls@reports.example",))
SESSION = TlsSession(TlsPolicy("sts", "example.net", ("mode: enforce",), ("mx.example.net",)))
FAILED = TlsSession(SESSION.policy, "certificate-expired", "old", "192.0.2.1", "mx.example.net", "192.0.2.2")
NO = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"


class Holder:
    """Who has the role; `step` does what is due."""

    def __init__(self, storage: Storage, lease: HeldLease, settings: TlsReportSettings) -> None:
        self.storage = storage
        self.lease = lease
        self.heard: list[QueueDue] = []
        client = PushClient(settings, DnsResolver([("127.0.0.1", 9)], timeout=1))
        self.job = TlsReportSending(storage, TlsPost(settings, "mx.example.org", client, self.heard.append), Metrics())

    async def step(self) -> Progress:
        return await self.job.step(Tenure("reports.send", self.lease, structlog.get_logger()), "")

    async def outcomes(self) -> list[str]:
        rows = await self.storage._database.fetch("SELECT outcome FROM tls_report ORDER BY domain")
        return [row["outcome"] for row in rows]


@pytest.fixture
def hold(storage: Storage) -> Callable[..., Any]:
    async def make(**settings: Any) -> Holder:
        await storage._database.execute("UPDATE lease SET until = now() - interval '1 second'")
        # Nobody renews it: it must outlast the test.
        keeper = LeaseKeeper(storage.leases, f"boot {id(settings)}", SystemClock(), LeaseTimes(ttl=600.0))
        (lease,) = await keeper.acquire(["role/reports.send"])
        return Holder(storage, lease, TlsReportSettings(networks=("127.0.0.0/8",), **settings))

    return make


async def yesterday(storage: Storage, counts: dict[tuple[TlsReporting, TlsSession], int]) -> None:
    await storage.tls_reports.record(counts)
    for table, more in (("tls_report", ", due = due - interval '27 hours'"), ("tls_result", "")):
        await storage._database.execute(f"UPDATE {table} SET day = day - 1{more}")


async def test_a_day_of_a_domain_is_one_signed_message(storage: Storage, hold: Any) -> None:
    holder = await hold(sender="tls@example.org", organization="Example")
    await storage.tls_reports.record({(MAIL, SESSION): 2})
    assert await holder.step() == Progress(), "its day is not over"
    await yesterday(storage, {(MAIL, SESSION): 3, (MAIL, FAILED): 1})
    assert await holder.step() == Progress("", 1)
    assert await holder.step() == Progress()
    (queued,) = await storage.queue.messages()
    assert (queued.sender, [to.address for to in queued.recipients]) == ("tls@example.org", ["tls@reports.example"])
    assert await storage._database.fetchval("SELECT signing_domain FROM queue_message") == "example.org"
    assert holder.heard == [QueueDue(storage.queue.shard_of("reports.example"))]
    message = message_from_bytes(await storage.queue.message_blob(queued.id))
    told = json.loads(gzip.decompress(message.get_payload()[1].get_payload(decode=True)))
    assert (told["organization-name"], told["contact-info"]) == ("Example", "tls@example.org")
    (policy,) = told["policies"]
    assert policy["summary"] == {"total-successful-session-count": 5, "total-failure-session-count": 1}
    assert policy["failure-details"][0]["result-type"] == "certificate-expired"
    assert await storage._database.fetchval("SELECT count(*) FROM tls_result") == 0


async def test_reports_are_posted_and_tried_again(storage: Storage, hold: Any, tmp_path: Path) -> None:
    async with PushService(tmp_path) as service:
        holder = await hold(ca=service.ca)
        wants = TlsReporting("example.net", (f"{service.url}/v1?x=y",))
        await yesterday(storage, {(wants, SESSION): 1})
        service.answers.append(NO)
        assert "127.0.0.1 answers 503" in str((await holder.step()).problem)
        assert await holder.step() == Progress(), "it is put off"
        await storage._database.execute("UPDATE tls_report SET due = now()")
        assert await holder.step() == Progress("", 1)
        assert await holder.outcomes() == ["sent"]
    first, second = service.pushes
    assert first.body == second.body
    assert (second.path, second.fields["content-type"]) == ("/v1?x=y", "application/tlsrpt+gzip")
    assert json.loads(gzip.decompress(second.body))["report-id"].endswith(".tls.example.net@mx.example.org")
    assert await storage.queue.messages() == []


async def test_one_that_nobody_takes_ends_too(storage: Storage, hold: Any, tmp_path: Path) -> None:
    async with PushService(tmp_path) as service:
        holder = await hold(ca=service.ca)
        service.answers.append(NO)
        both = TlsReporting("a.example", (f"{service.url}/", "mailto:x@a.example"))
        nowhere = TlsReporting("b.example", ("https://user@b.example/", "mailto:nobody"))
        down = TlsReporting("c.example", (service.url.replace("127.0.0.1", "192.168.1.1"),))
        await yesterday(storage, {(each, SESSION): 1 for each in (both, nowhere, down)})
        for _ in range(LAST_FAILURE):
            await storage._database.execute("UPDATE tls_report SET due = now() WHERE ended_at IS NULL")
            await holder.step()
        assert await holder.outcomes() == ["sent", "nobody", "nobody"]
        assert [to.address for each in await storage.queue.messages() for to in each.recipients] == ["x@a.example"]
        silent = TlsReporting("d.example", ("https://127.0.0.1:9/",))
        await yesterday(storage, {(silent, SESSION): 1})
        for _ in range(LAST_FAILURE):
            await storage._database.execute("UPDATE tls_report SET due = now() WHERE ended_at IS NULL")
            await holder.step()
        assert (await holder.outcomes())[-1] == "given-up"


async def test_a_late_holder_sends_nothing(storage: Storage, hold: Any) -> None:
    late = await hold()
    await hold()
    await yesterday(storage, {(MAIL, SESSION): 1})
    with pytest.raises(LeaseLost):
        await late.step()
    assert await storage.queue.messages() == []
