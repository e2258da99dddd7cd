"""Pauses and holds over the real queue: what is stopped is not sent, the rest is, and all of it goes when it may."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
import structlog

from posthorn_model.ids import QueueMessageId
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_smtp_out.brakes import Brakes, Paused
from posthorn_smtp_out.routes import Destination
from posthorn_storage import Storage
from posthorn_storage.queue import QueueFilter, Scope, Standing
from posthorn_testkit.sink import Sink

pytestmark = pytest.mark.postgres
LOG = structlog.wrap_logger(structlog.WriteLogger(io.StringIO()))
WAITING, DELIVERED, HELD, PAUSED = Standing.WAITING, Standing.DELIVERED, Standing.HELD, Standing.PAUSED
Start = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture(autouse=True)
async def no_pauses_left(storage: Storage) -> AsyncIterator[None]:
    yield
    await storage._database.execute("DELETE FROM queue_pause")


async def enqueue(storage: Storage, *addresses: str) -> QueueMessageId:
    blob = await storage.blobs.prepare(b"Message-ID: <p@example.org>\r\n\r\ntext\r\n")
    recipients = [NewRecipient(address, address.rpartition("@")[2]) for address in addresses]
    return await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, recipients))


async def standings(storage: Storage, message: QueueMessageId) -> tuple[Standing, ...]:
    return tuple(each.standing for each in (await storage.queue.show(message)).recipients)


async def until(holds: Callable[[], Awaitable[bool] | bool]) -> None:
    """A bounded poll."""
    async with asyncio.timeout(90):
        while not (found if isinstance(found := holds(), bool) else await found):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


async def until_standing(storage: Storage, message: QueueMessageId, *wanted: Standing) -> None:
    async def stands() -> bool:
        return await standings(storage, message) == wanted

    await until(stands)


@pytest.mark.parametrize("scope", ["site", "route"])
async def test_a_pause_stops_its_site_and_nothing_else(
    storage: Storage, sink: Sink, start: Start, scope: Scope
) -> None:
    """The route is the sink's: with it both sites are stopped."""
    name = "example.net" if scope == "site" else sink.address
    pauses = storage.queue.pauses
    await pauses.put(scope, name, "the operator says so")
    worker = await start()
    message = await enqueue(storage, "bob@example.net", "eve@example.com")
    await until_standing(storage, message, PAUSED, DELIVERED if scope == "site" else PAUSED)
    (stopped,) = (await pauses.stopped()).values()
    assert stopped == (1 if scope == "site" else 2)
    await pauses.lift(scope, name)
    worker.brakes.hurry()
    await until_standing(storage, message, DELIVERED, DELIVERED)
    line = await storage.queue.time_line(message)
    assert [event.kind for event in line].count("resumed") == stopped
    assert [event.reply for event in line if event.kind == "paused"] == [f"{name} the operator says so"] * stopped

    async def forgotten() -> bool:
        worker.brakes.hurry()
        return not await pauses.all()

    await until(forgotten)


async def test_while_everything_is_paused_nothing_is_claimed(storage: Storage, start: Start) -> None:
    await storage.queue.pauses.put("everything", "", "the disk of the relay is full", seconds=3600)
    worker = await start()
    message = await enqueue(storage, "bob@example.net")
    for _ in range(5):
        worker.shards.wake()
        await asyncio.sleep(0.02)
    assert [event.kind for event in await storage.queue.time_line(message)] == ["queued"]
    assert await standings(storage, message) == (WAITING,)
    await storage._database.execute("UPDATE queue_pause SET until = now()")
    worker.brakes.hurry()
    await until_standing(storage, message, DELIVERED)


async def test_a_pause_stops_what_waits_for_a_connection(storage: Storage, sink: Sink, start: Start) -> None:
    worker = await start()
    destination = worker.router.destination("example.net")
    source = worker.sources.chosen(destination, "ann@example.org")
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(worker.pool.connection(destination, source))
        message = await enqueue(storage, "bob@example.net")
        worker.shards.wake()
        shard = (await storage.queue.show(message)).recipients[0].shard
        await until(lambda: bool(worker.shards._workers[shard]._tasks))
        await storage.queue.pauses.put("site", "example.net", "")
        worker.brakes.hurry()
        await until(lambda: worker.brakes.pause_of("example.net") is not None)
    await until_standing(storage, message, PAUSED)
    assert sink.mails == []


async def test_what_is_held_waits_until_it_is_released(storage: Storage, start: Start) -> None:
    message = await enqueue(storage, "bob@example.net", "eve@example.com")
    operations = storage.queue.operations
    assert (await operations.apply("hold", QueueFilter(message=message, recipient="bob"))).recipients == 1
    await start()
    await until_standing(storage, message, HELD, DELIVERED)
    assert (await storage.queue.show(message)).done_at is None
    await operations.apply("release", QueueFilter(message=message))
    await until_standing(storage, message, DELIVERED, DELIVERED)
    assert (await storage.queue.show(message)).done_at is not None


async def test_the_widest_pause_counts(storage: Storage) -> None:
    routes = {"example.net": Destination("relay:25"), "example.com": Destination("example.com"), "example.org": None}
    brakes = Brakes(storage.queue.pauses, lambda site: routes[site], LOG)
    stopped: list[list[str | None]] = []
    pauses: list[tuple[Scope, str]] = [
        ("site", "example.net"),
        ("route", "relay:25"),
        ("route", "local"),
        ("everything", ""),
    ]
    for scope, name in pauses:
        await storage.queue.pauses.put(scope, name, "")
        await brakes.read()
        stopped.append([found.scope if (found := brakes.pause_of(site)) else None for site in (*routes, "local")])
    assert stopped == [
        ["site", None, None, None],
        ["route", None, None, None],
        ["route", None, "route", "route"],
        ["everything"] * 4,
    ]
    with pytest.raises(Paused):
        brakes.check("example.com")
