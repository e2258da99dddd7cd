"""When jobs run: once per interval in the cluster, on from their cursor after a take-over, never under a lost lease."""

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from posthorn_bus import BusIdentity, HeldLease, LeaseKeeper, LeaseTimes, PeerSettings, open_bus
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_maintenance.dkim.txt_lookup import TxtLookup
from posthorn_maintenance.duties import ROLES, duties
from posthorn_maintenance.jobs.dkim import DkimRotation
from posthorn_maintenance.jobs.job import Duty, Job, Progress, Step, Tenure
from posthorn_maintenance.jobs.push import MetricsPush
from posthorn_maintenance.jobs.reports import Post, ReportSending
from posthorn_maintenance.jobs.web_push import WebPush
from posthorn_maintenance.scheduler import Scheduler
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_maintenance.web_push.client import PushClient
from posthorn_model.clock import SystemClock
from posthorn_model.errors import Unavailable
from posthorn_model.ids import NodeId
from posthorn_node.metrics import Metrics
from posthorn_node.settings import AcmeSettings, DmarcReportSettings, PushSettings, ResolverSettings, WebPushSettings
from posthorn_storage import Storage

pytestmark = pytest.mark.postgres
ROLE = "purge.stores"
HOUR = 3600.0


class Holder:
    """One process that may hold the role."""

    def __init__(self, storage: Storage, name: str) -> None:
        # Nobody renews its leases: they must outlast the test.
        self.keeper = LeaseKeeper(storage.leases, name, SystemClock(), LeaseTimes(ttl=600.0))
        self.metrics = Metrics()
        self.scheduler = Scheduler(storage.role_jobs, self.metrics)

    async def take(self) -> HeldLease:
        (lease,) = await self.keeper.acquire([f"role/{ROLE}"])
        return lease

    async def work(self, lease: HeldLease, *jobs: Job) -> None:
        async with asyncio.timeout(90):
            await self.scheduler.work(Duty(jobs), Tenure(ROLE, lease, structlog.get_logger()))


def ending(steps: list[Progress | Exception], seen: list[str], lease: HeldLease) -> Step:
    """Plays `steps`, notes the cursors it was called with, and ends the tenure with the last one."""

    async def step(_tenure: Tenure, cursor: str) -> Progress:
        seen.append(cursor)
        outcome = steps.pop(0)
        if not steps:
            lease.end()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return step


async def rounds(storage: Storage) -> list[tuple[str, bool, int]]:
    return [(state.cursor, state.running, state.worked) for state in await storage.role_jobs.all()]


async def test_a_round_goes_on_at_its_cursor_with_the_next_holder(storage: Storage) -> None:
    seen: list[str] = []
    first, second = Holder(storage, "first"), Holder(storage, "second")
    lease = await first.take()
    await first.work(lease, Job("walk", HOUR, ending([Progress("b", 5), Progress("c", 5)], seen, lease)))
    assert await rounds(storage) == [("c", True, 10)]
    await first.keeper.release([lease])
    lease = await second.take()
    await second.work(lease, Job("walk", HOUR, ending([Progress("d", 1), Progress("", 1)], seen, lease)))
    assert seen == ["", "b", "c", "d"]
    (state,) = await storage.role_jobs.all()
    assert (state.running, state.worked, state.epoch, state.failures) == (False, 12, lease.epoch, 0)
    assert state.finished_at is not None


async def test_a_round_begins_once_per_interval_whoever_holds_the_role(storage: Storage) -> None:
    seen: list[str] = []
    first, second = Holder(storage, "first"), Holder(storage, "second")
    lease = await first.take()
    await first.work(lease, Job("daily", HOUR, ending([Progress()], seen, lease)))
    await first.keeper.release([lease])
    lease = await second.take()
    # A quick job beside it says when the daily one had its chance.
    quick = Job("quick", 0.01, ending([Progress()] * 20, [], lease))
    await second.work(lease, Job("daily", HOUR, ending([Progress()], seen, lease)), quick)
    assert seen == [""]
    await storage._database.execute("UPDATE role_job SET started_at = started_at - interval '61 minutes'")
    await second.keeper.release([lease])
    lease = await first.take()
    await first.work(lease, Job("daily", HOUR, ending([Progress()], seen, lease)))
    assert seen == ["", ""]


async def test_a_step_that_fails_is_noted_and_tried_again_from_the_same_cursor(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthorn_maintenance.scheduler.RETRY_SECONDS", 0.01)
    seen: list[str] = []
    holder = Holder(storage, "only")
    lease = await holder.take()
    steps = [Progress("b"), Unavailable("the disk is full"), ZeroDivisionError(), Progress("c")]
    await holder.work(lease, Job("walk", HOUR, ending(list(steps), seen, lease)))
    assert seen == ["", "b", "b", "b"]
    (state,) = await storage.role_jobs.all()
    assert (state.cursor, state.failures) == ("c", 0)
    assert state.problem == "ZeroDivisionError: the log says more"
    assert 'role_job_failures_total{job="walk",role="purge.stores"} 2.0' in holder.metrics.exposition().decode()


async def test_a_step_that_hangs_is_ended(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthorn_maintenance.scheduler.RETRY_SECONDS", 0.01)
    holder = Holder(storage, "only")
    lease = await holder.take()
    calls: list[str] = []

    async def hanging(_tenure: Tenure, cursor: str) -> Progress:
        calls.append(cursor)
        if len(calls) == 2:
            lease.end()
            return Progress()
        await asyncio.Event().wait()
        raise AssertionError

    await holder.work(lease, Job("hang", HOUR, hanging, limit=0.05))
    (state,) = await storage.role_jobs.all()
    assert state.problem == "a step took longer than 0 s"
    assert len(calls) == 2


async def test_under_a_lost_lease_nothing_is_kept_and_the_refusal_is_told(storage: Storage) -> None:
    """The lease changes hands in the middle of a step: what the old holder writes after it is refused."""
    old, new = Holder(storage, "old"), Holder(storage, "new")
    lease = await old.take()
    seen: list[str] = []

    async def overtaken(_tenure: Tenure, cursor: str) -> Progress:
        seen.append(cursor)
        await storage._database.execute("UPDATE lease SET until = now()")
        taken = await new.take()
        await new.work(taken, Job("walk", HOUR, ending([Progress("new", 1)], [], taken)))
        return Progress("old", 100)

    with capture_logs() as logs:
        await old.work(lease, Job("walk", HOUR, overtaken))
    assert seen == [""]
    assert await rounds(storage) == [("new", True, 1)]
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "a late write was refused, another holds the role"
    ]
    assert 'role_writes_refused_total{role="purge.stores"} 1.0' in old.metrics.exposition().decode()


async def test_a_hand_over_does_not_wait_for_the_next_round(storage: Storage) -> None:
    holder = Holder(storage, "only")
    lease = await holder.take()
    begun = asyncio.Event()

    async def step(_tenure: Tenure, _cursor: str) -> Progress:
        begun.set()
        return Progress()

    work = asyncio.create_task(holder.work(lease, Job("hourly", HOUR, step)))
    await begun.wait()
    lease.end()
    await work


async def test_every_role_has_work(storage: Storage) -> None:
    authority = AcmeSettings(directory="https://ca.test/dir", domains=("a.test",), terms_agreed=True)
    push = MetricsPush(storage, PushSettings(url="http://localhost:9091"), "test")
    post = Post(DmarcReportSettings(), "mx.test", DnsResolver([("127.0.0.1", 9)]), str, lambda _: None)
    reports = [Job("dmarc", 60, ReportSending(storage, post, Metrics()).step)]
    dkim = DkimRotation(storage, {}, TxtLookup(ResolverSettings()), Metrics())
    settings, resolver = WebPushSettings(), DnsResolver([("127.0.0.1", 9)])
    bus = open_bus(PeerSettings(secret="s"), BusIdentity(NodeId(1), "x", "b"), storage.nodes.peer_directory("b"))
    client = PushClient(settings, resolver)
    devices = WebPush(storage, bus, client, settings, "mailto:a@mx.test", SystemClock(), Metrics())
    own, authorities = MaintenanceSettings(), {"mine": authority}
    found = duties(Metrics(), storage, own, lambda _: None, authorities, dkim, push, reports, devices)
    assert tuple(found) == ROLES
    assert all(duty.jobs or duty.kept for duty in found.values())
    assert all(job.interval > 0 and job.limit > 0 for duty in found.values() for job in duty.jobs)
