"""How a role works its steps off: batch by batch, past failures, never under a lost lease; on the real database."""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from posthorn_bus import LeaseKeeper, LeaseTimes
from posthorn_mail_format.summary import summarize
from posthorn_maintenance.jobs import purge_accounts, purge_stores
from posthorn_maintenance.jobs.calculate import ClusterFigures
from posthorn_maintenance.jobs.index_messages import Indexing
from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_maintenance.jobs.moves import MoveKeeper
from posthorn_maintenance.jobs.pieces import one_by_one
from posthorn_maintenance.jobs.scrub import BlobScrub
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_model.clock import SystemClock
from posthorn_model.errors import Unavailable
from posthorn_model.events import Control
from posthorn_model.ids import AccountId, Epoch
from posthorn_model.mail import NewMessage
from posthorn_node.metrics import Metrics
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.index import IndexTasks
from posthorn_storage.mail.search import Matches, SearchQuery, TextField
from posthorn_storage.purge import WHOLE, Share
from posthorn_testkit.documents import pdf, shown

LOG = structlog.get_logger()


async def held(storage: Storage, role: str = "purge.stores", share: Share = WHOLE) -> Tenure:
    # Nobody renews it: it must outlast the test.
    keeper = LeaseKeeper(storage.leases, "boot", SystemClock(), LeaseTimes(ttl=600.0))
    (lease,) = await keeper.acquire([f"role/{role}"])
    return Tenure(role, lease, LOG, share)


async def test_a_piece_is_repeated_while_it_fills_its_batch(storage: Storage) -> None:
    tenure = await held(storage)
    left = [10, 10, 3]
    seen: list[tuple[str, int]] = []

    async def first() -> int:
        return left.pop(0)

    async def second() -> int:
        return 0

    step = one_by_one(
        lambda _: {"first@0": first, "second": second}, 10, lambda name, count: seen.append((name, count))
    )
    cursors = [""]
    while len(cursors) == 1 or cursors[-1]:
        cursors.append((await step(tenure, cursors[-1])).cursor)
    assert cursors == ["", "first@0", "first@0", "second", ""]
    assert seen == [("first", 10), ("first", 10), ("first", 3), ("second", 0)]


async def test_a_failing_piece_does_not_stop_the_others(storage: Storage) -> None:
    tenure = await held(storage)

    async def failing() -> int:
        raise Unavailable("no space is left")

    async def last() -> int:
        return 7

    step = one_by_one(lambda _: {"failing": failing, "last": last}, 10, lambda name, count: None)
    first = await step(tenure, "")
    assert first == Progress("last", problem="failing: no space is left")
    assert await step(tenure, first.cursor) == Progress("", 7)


async def test_a_cursor_of_pieces_there_are_no_more_begins_anew(storage: Storage) -> None:
    tenure = await held(storage)

    async def only() -> int:
        return 1

    assert await one_by_one(lambda _: {"only": only}, 10, lambda n, c: None)(tenure, "gone") == Progress("", 1)
    assert await one_by_one(lambda _: {}, 10, lambda n, c: None)(tenure, "gone") == Progress()


async def test_shares_of_a_purge_have_every_piece_once(storage: Storage) -> None:
    """A list of lists splits the work: nothing is done twice, nothing by nobody."""
    settings = MaintenanceSettings()
    whole = list(purge_stores.pieces(storage, settings, await held(storage)))
    parts = [
        list(purge_stores.pieces(storage, settings, await held(storage, f"purge.stores/{part}", Share(part, 3))))
        for part in range(3)
    ]
    assert sorted(name for part in parts for name in part) == sorted(whole)
    assert all(parts)
    moves = MoveKeeper(storage, lambda _: None)
    owners = [bool(moves.pieces(await held(storage, f"moves/{part}", Share(part, 3)))) for part in range(3)]
    assert owners == [True, False, False]


async def test_every_step_runs_on_the_database(
    storage: Storage, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    """An upload past its time, a removed account: all steps of both roles run, and what is alive stays."""
    ann = await account("ann@example.org", "secret")
    settings = MaintenanceSettings()
    for role, make in (("purge.stores", purge_stores.pieces), ("purge.accounts", purge_accounts.pieces)):
        for name, piece in make(storage, settings, await held(storage, role)).items():
            assert await piece() >= 0, name
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
    tenure = await held(storage, "index.messages")
    metrics = Metrics()
    figures = ClusterFigures(metrics)
    await figures.read(storage)
    assert b'index_tasks{state="waiting"} 1.0' in metrics.exposition()
    indexing = Indexing(metrics, MaintenanceSettings())
    work = asyncio.create_task(indexing.keep(storage.search, tenure))
    async with asyncio.timeout(60):
        while (await storage.search.lag()).waiting:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.05)
        tenure.lease.end()
        await work
    found = await storage.mail.search(ann.id, SearchQuery(Matches(TextField.BODY, '"quarterly giraffes"')))
    assert found.ids == [appended.message]
    await figures.read(storage)
    assert b'index_tasks{state="waiting"} 0.0' in metrics.exposition()


async def test_a_backlog_is_indexed_without_a_rest(
    storage: Storage, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    """Rests are for when nothing more is due; the tasks of a holder before are done one after the other."""
    ann = await account("ann@example.org", "secret")
    raw = b"Subject: one of many\r\n\r\ntext\r\n"
    blob = await storage.blobs.prepare(raw)
    await storage.mail.append([NewMessage(ann.id, [], summarize(raw), blob) for _ in range(8)])
    database = (await storage.shards.of(ann.id)).database
    assert len(await IndexTasks(database).claim(Epoch(0), 3)) == 3
    tenure = await held(storage, "index.messages")
    settings = MaintenanceSettings(index_batch=2, index_interval=86_400)
    work = asyncio.create_task(Indexing(Metrics(), settings).keep(storage.search, tenure))
    async with asyncio.timeout(60):
        while (await storage.search.lag()).waiting:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.05)
        tenure.lease.end()
        await work


async def test_the_scrub_tells_what_it_finds_until_its_lease_ends(storage: Storage, tmp_path: Path) -> None:
    for number in range(3):
        await storage.blobs.upload(AccountId(1), os.urandom(20_000 + number))
    files = sorted(path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    files[0].unlink()
    tenure = await held(storage)
    metrics = Metrics()
    settings = MaintenanceSettings(scrub_rate=10_000, purge_interval=1)
    scrub = asyncio.create_task(BlobScrub(metrics).keep(storage, settings, tenure))
    async with asyncio.timeout(60):
        while 'blob_scrub_rounds_total{walk="objects"} 1.0' not in metrics.exposition().decode():  # noqa: ASYNC110  another loop than ours says it
            await asyncio.sleep(0.01)
    tenure.lease.end()
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


async def test_of_several_shares_one_shows_the_figures(storage: Storage) -> None:
    metrics = Metrics()
    figures = ClusterFigures(metrics)
    second = await held(storage, "metrics.calculate/1", Share(1, 2))
    idle = asyncio.create_task(figures.keep(storage, 0.01, second))
    first = await held(storage, "metrics.calculate/0", Share(0, 2))
    shown = asyncio.create_task(figures.keep(storage, 0.01, first))
    async with asyncio.timeout(60):
        while b"posthorn_cluster_index_tasks{" not in metrics.exposition():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
        first.lease.end()
        await shown
        assert b"posthorn_cluster_index_tasks{" not in metrics.exposition()
        assert not idle.done()
        second.lease.end()
        await idle
