"""reports.send: who gets a DMARC report by what real name servers say, that each goes once, and when none goes."""

import gzip
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Any

import pytest
import pytest_asyncio
import structlog

from posthorn_bus import HeldLease, LeaseKeeper, LeaseTimes
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_maintenance.dmarc import destinations
from posthorn_maintenance.dmarc.destinations import Destination, named
from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_maintenance.jobs.report_round import LAST_FAILURE
from posthorn_maintenance.jobs.reports import Post, ReportSending
from posthorn_model.clock import SystemClock
from posthorn_model.dmarc import DmarcObservation, PublishedPolicy
from posthorn_model.errors import LeaseLost, Unavailable
from posthorn_model.events import QueueDue
from posthorn_node.metrics import Metrics
from posthorn_node.settings import DmarcReportSettings
from posthorn_storage import Storage
from posthorn_testkit.dns import DnsServer

pytestmark = pytest.mark.postgres
LOG = structlog.get_logger()
POLICY = PublishedPolicy("example.org", "reject", "reject", "r", "r", 100, ("mailto:dmarc@reports.example.org",))
SEEN = DmarcObservation(POLICY, "192.0.2.1", "reject", False, False, "example.org")


def organization(domain: str) -> str:
    return ".".join(domain.split(".")[-2:])


@dataclass
class Holder:
    storage: Storage
    job: ReportSending
    lease: HeldLease
    metrics: Metrics
    heard: list[QueueDue] = field(default_factory=list)

    async def step(self) -> Progress:
        return await self.job.step(Tenure("reports.send", self.lease, LOG), "")

    async def next_day(self) -> None:
        for table, more in (("dmarc_report", ", due = due - interval '27 hours'"), ("dmarc_result", "")):
            await self.storage._database.execute(f"UPDATE {table} SET day = day - 1{more}")

    async def ended(self) -> list[str]:
        rows = await self.storage._database.fetch("SELECT outcome FROM dmarc_report ORDER BY domain")
        return [row["outcome"] for row in rows]


@pytest_asyncio.fixture
async def hold(storage: Storage) -> AsyncIterator[Callable[..., Any]]:
    """`await hold(server, **settings)`: a holder of the role."""

    async def make(server: DnsServer, **settings: Any) -> Holder:
        await storage._database.execute("UPDATE lease SET until = now() - interval '1 second'")
        # Nobody renews it: it must outlast the test.
        keeper = LeaseKeeper(storage.leases, f"boot {id(settings)}", SystemClock(), LeaseTimes(ttl=600.0))
        (lease,) = await keeper.acquire(["role/reports.send"])
        heard: list[QueueDue] = []
        resolver = DnsResolver([("127.0.0.1", server.port)], timeout=30)
        post = Post(DmarcReportSettings(**settings), "mx.example.net", resolver, organization, heard.append)
        metrics = Metrics()
        return Holder(storage, ReportSending(storage, post, metrics), lease, metrics, heard)

    return make


async def test_a_day_of_a_domain_is_one_report(storage: Storage, hold: Any) -> None:
    async with DnsServer({}) as server:
        holder = await hold(server, sender="dmarc@example.net", organization="Example")
        days = {datetime.now(UTC).date()}
        await storage.dmarc.record({SEEN: 3, replace(SEEN, source="192.0.2.2"): 1})
        days.add(datetime.now(UTC).date())  # two of them when midnight has just passed
        assert await holder.step() == Progress(), "its day is not over"
        await holder.next_day()
        assert await holder.step() == Progress("", 1)
        assert await holder.step() == Progress()
    (queued,) = await storage.queue.messages()
    assert queued.sender == "dmarc@example.net"
    assert [(to.address, to.site) for to in queued.recipients] == [("dmarc@reports.example.org", "reports.example.org")]
    assert await storage._database.fetchval("SELECT signing_domain FROM queue_message") == "example.net"
    assert holder.heard == [QueueDue(storage.queue.shard_of("reports.example.org"))]
    message = message_from_bytes(await storage.queue.message_blob(queued.id))
    xml = gzip.decompress(message.get_payload()[1].get_payload(decode=True))
    begins = [int(datetime.combine(each, datetime.min.time(), UTC).timestamp()) - 86400 for each in days]
    assert any(f"<begin>{begin}</begin><end>{begin + 86399}</end>".encode() in xml for begin in begins)
    assert b"<org_name>Example</org_name><email>dmarc@example.net</email>" in xml
    assert xml.count(b"<record>") == 2
    assert 'dmarc_reports_total{outcome="sent"} 1.0' in holder.metrics.exposition().decode()


async def test_a_late_holder_sends_nothing_and_the_next_one_does(storage: Storage, hold: Any) -> None:
    async with DnsServer({}) as server:
        late = await hold(server)
        following = await hold(server, contact="somebody")
        await storage.dmarc.record({SEEN: 1})
        await late.next_day()
        with pytest.raises(LeaseLost):
            await late.step()
        assert await storage.queue.messages() == []
        assert await following.step() == Progress("", 1)
    assert len(await storage.queue.messages()) == 1


async def test_other_organizations_are_asked_whether_they_want_reports(storage: Storage, hold: Any) -> None:
    uris = ("mailto:a@yes.example", "mailto:b@no.example", "mailto:c@other.example", "https://example.org/x")
    records = {
        "example.org._report._dmarc.yes.example": {"TXT": ['"v=DMARC1"']},
        "example.org._report._dmarc.no.example": {"TXT": ['"v=spf1"']},
        "example.org._report._dmarc.other.example": {
            "TXT": ['"v=DMARC1; rua=mailto:d@other.example,mailto:victim@third.example"']
        },
    }
    async with DnsServer(records) as server:
        holder = await hold(server)
        await storage.dmarc.record({replace(SEEN, published=replace(POLICY, reports_to=uris)): 1})
        await holder.next_day()
        await holder.step()
    (queued,) = await storage.queue.messages()
    assert sorted(to.address for to in queued.recipients) == ["a@yes.example", "d@other.example"]


async def test_nobody_and_too_large_end_a_report(storage: Storage, hold: Any) -> None:
    async with DnsServer({}) as server:
        holder = await hold(server)
        nobody = replace(POLICY, domain="a.example", reports_to=("mailto:x@elsewhere.example",))
        small = replace(POLICY, domain="b.example", reports_to=("mailto:x@b.example!1k",))
        both = replace(POLICY, domain="c.example", reports_to=("mailto:x@c.example!1k", "mailto:y@c.example!1m"))
        await storage.dmarc.record({replace(SEEN, published=each): 1 for each in (nobody, small, both)})
        await holder.next_day()
        assert await holder.step() == Progress("", 3)
        assert await holder.ended() == ["nobody", "too-large", "sent"]
    (queued,) = await storage.queue.messages()
    assert [to.address for to in queued.recipients] == ["y@c.example"]
    assert b"x@c.example" not in await storage.queue.message_blob(queued.id)


async def test_a_report_waits_for_dns_and_is_given_up_at_last(storage: Storage, hold: Any) -> None:
    uris = ("mailto:a@slow.example",)
    async with DnsServer({"example.org._report._dmarc.slow.example": {"RCODE": ["SERVFAIL"]}}) as server:
        holder = await hold(server)
        await storage.dmarc.record({replace(SEEN, published=replace(POLICY, reports_to=uris)): 1})
        await holder.next_day()
        progress = await holder.step()
        assert "DNS does not say whether slow.example wants reports on example.org" in str(progress.problem)
        assert await holder.step() == Progress(), "it is put off"
        for _ in range(LAST_FAILURE - 1):
            await storage._database.execute("UPDATE dmarc_report SET due = now()")
            await holder.step()
        assert await holder.ended() == ["given-up"]
        assert await storage._database.fetchval("SELECT count(*) FROM dmarc_result") == 0


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("mailto:a@b.example", [Destination("a@b.example", "b.example")]),
        ("MAILTO:a%2Bb@b.example!10m", [Destination("a+b@b.example", "b.example", 10 << 20)]),
        ("mailto:a@B.example!5K?subject=x", []),
        ("mailto:a@b.example?subject=x", [Destination("a@b.example", "b.example")]),
        ("mailto:a@b.example!99", [Destination("a@b.example", "b.example", 99)]),
        ("mailto:a@[192.0.2.1]", []),
        ("mailto:a@b.example%0d%0aBcc: x@y", []),
        ("mailto:ä@b.example", []),
        ("mailto:", []),
        ("ftp:a@b.example", []),
        ("", []),
    ],
)
def test_which_uris_are_addresses(uri: str, found: list[Destination]) -> None:
    assert named([uri]) == found


def test_a_report_goes_to_few() -> None:
    many = [f"mailto:a{number}@b.example" for number in range(50)]
    assert len(named([*many, many[0]])) == destinations.MOST


async def test_no_answer_of_dns_is_no_consent() -> None:
    async with DnsServer({}) as server:
        server.silent = True
        resolver = DnsResolver([("127.0.0.1", server.port)], timeout=0.2)
        with pytest.raises(Unavailable):
            await destinations.willing(resolver, "a.example", ["mailto:x@b.example"], organization)
