"""How a role works its steps off: batch by batch, past failures, never under a lost lease; on the real database."""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from posthorn_bus import HeldLease, LeaseKeeper
from posthorn_mail_format.summary import summarize
from posthorn_maintenance.jobs import purge_accounts, purge_stores
from posthorn_maintenance.jobs.calculate import ClusterFigures
from posthorn_maintenance.jobs.index_messages import Indexing
from posthorn_maintenance.jobs.moves import MoveKeeper
from posthorn_maintenance.jobs.scrub import BlobScrub
from posthorn_maintenance.jobs.steps import work_off
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_model.clock import SystemClock
from posthorn_model.errors import LeaseLost, Unavailable
from posthorn_model.events import Control
from posthorn_model.ids import AccountId
from posthorn_model.mail import NewMessage
from posthorn_node.metrics import Metrics
from posthorn_storage import AccountRecord, Fence, Storage
from posthorn_storage.mail.search import Matches, SearchQuery, TextField
from posthorn_testkit.documents import pdf, shown

LOG = structlog.get_logger()


async def held(storage: Storage, key: str = "role/purge.stores") -> HeldLease:
    keeper = LeaseKeeper(storage.leases, "boot", SystemClock())
    (lease,) = await keeper.acquire([key])
    return lease


async def test_a_step_is_repeated_while_it_fills_its_batch(storage: Storage) -> None:
    lease = await held(storage)
    left = [10, 10, 3]
    seen: list[tuple[str, int]] = []

    async def first() -> int:
        return left.pop(0)

    async def second() -> int:
        lease.end()
        return 0

    await work_off(
        lease,
        {"first": first, "second": second},
        batch=10,
        pause=60,
        log=LOG,
        done=lambda step, count: seen.append((step, count)),
    )
    assert seen == [("first", 10), ("first", 10), ("first", 3), ("second", 0)]


async def test_a_failing_step_does_not_stop_the_others(storage: Storage) -> None:
    lease = await held(storage)
    ran = []

    async def failing() -> int:
        ran.append("failing")
        raise Unavailable

    async def last() -> int:
        ran.append("last")
        if len(ran) > 2:
            lease.end()
        return 0

    steps = {"failing": failing, "last": last}
    await work_off(lease, steps, batch=10, pause=0.01, log=LOG, done=lambda step, count: None)
    assert ran == ["failing", "last", "failing", "last"]


async def test_a_lost_lease_ends_the_work(storage: Storage) -> None:
    lease = await held(storage)
    ran = []

    async def losing() -> int:
        ran.append("losing")
        raise LeaseLost

    async def after() -> int:
        ran.append("after")
        return 0

    await work_off(lease, {"a": losing, "b": after}, batch=1, pause=0, log=LOG, done=lambda step, count: None)
    assert ran == ["losing"]


async def test_a_hand_over_does_not_wait_for_the_pause(storage: Storage) -> None:
    lease = await held(storage)
    begun = asyncio.Event()

    async def step() -> int:
        begun.set()
        return 0

    work = asyncio.create_task(work_off(lease, {"s": step}, batch=1, pause=3600, log=LOG, done=lambda s, c: None))
    await begun.wait()
    lease.end()
    async with asyncio.timeout(20):
        await work


async def test_every_step_runs_on_the_database(
    storage: Storage, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    """An upload past its time, a removed account: all steps of both roles run, and what is alive stays."""
    ann = await account("ann@example.org", "secret")
    settings = MaintenanceSettings()
    for key, make in (("role/purge.stores", purge_stores.steps), ("role/purge.accounts", purge_accounts.steps)):
        lease = await held(storage, key)
        for name, step in make(storage, Fence(lease.key, lease.epoch), settings).items():
            assert await step() >= 0, name
    assert await storage.directory.find_account("ann@example.org") == ann
    assert len(await storage.mail.mailboxes(ann.id)) == 6


async def test_messages_are_indexed_until_the_lease_ends(
    storage: Storage, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    """With the real readers of documents: what a PDF says is found, and the figures are told."""
    ann = await account("ann@example.org", "secret")
    document = base64.encodebytes(pdf(shown("Quarterly giraffes"))).decode()
    raw = (
        "From: a@example.net\r\nSubject: plan\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        '--b\r\n\r\nsee below\r\n--b\r\nContent-Type: application/pdf; name="plan.pdf"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{document}\r\n--b--\r\n"
    ).encode()
    new = NewMessage(ann.id, [], summarize(raw), await storage.blobs.prepare(raw))
    (appended,) = await storage.mail.append([new])
    lease = await held(storage, "role/index.messages")
    metrics = Metrics()
    figures = ClusterFigures(metrics)
    await figures.read(storage)
    assert b'index_tasks{state="waiting"} 1.0' in metrics.exposition()
    indexing = Indexing(metrics, MaintenanceSettings())
    work = asyncio.create_task(indexing.run(storage.search, lease, LOG, part=0, parts=1))
    async with asyncio.timeout(60):
        while (await storage.search.lag()).waiting:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.05)
        lease.end()
        await work
    found = await storage.mail.search(ann.id, SearchQuery(Matches(TextField.BODY, '"quarterly giraffes"')))
    assert found.ids == [appended.message]
    await figures.read(storage)
    assert b'index_tasks{state="waiting"} 0.0' in metrics.exposition()


async def test_the_scrub_tells_what_it_finds_until_its_lease_ends(storage: Storage, tmp_path: Path) -> None:
    for number in range(3):
        await storage.blobs.upload(AccountId(1), os.urandom(20_000 + number))
    files = sorted(path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    files[0].unlink()
    lease = await held(storage)
    metrics = Metrics()
    settings = MaintenanceSettings(scrub_rate=10_000, purge_interval=1)
    scrub = asyncio.create_task(BlobScrub(metrics).keep(storage, lease, settings, LOG))
    async with asyncio.timeout(30):
        while 'blob_scrub_rounds_total{walk="objects"} 1.0' not in metrics.exposition().decode():  # noqa: ASYNC110  another loop than ours says it
            await asyncio.sleep(0.01)
    lease.end()
    await scrub
    text = metrics.exposition().decode()
    assert 'blob_scrub_found_total{what="blob-missing"}' in text
    assert "blob-damaged" not in text


async def test_everybody_hears_once_of_a_moved_account(
    storage: Storage, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    ann = (await account()).id
    await storage._database.execute(
        "INSERT INTO account_move (account_id, source, target, step, epoch, switched_at) "
        "VALUES ($1, 0, 0, 'switched', 7, now()), ($1 + 1, 0, 0, 'copying', 7, NULL)",
        ann,
    )
    heard: list[Control] = []
    keeper = MoveKeeper(storage, heard.append)
    assert await keeper.recover() == 1
    assert await keeper.recover() == 0
    assert heard == [Control("account-moved", {"account": ann})]
    assert await keeper.clean() == 0
