"""Limits that several processes share: of a relay, and of a site whose recipients are spread over several shards."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState
from posthorn_node.settings import ResolverSettings
from posthorn_smtp_out.pacing import Limits, Pace
from posthorn_smtp_out.pool import NotNow, Pool
from posthorn_smtp_out.remote import Manners, client_context
from posthorn_smtp_out.resolver import Resolver
from posthorn_smtp_out.routes import Destination, Relay, Router
from posthorn_smtp_out.settings import SendTimes
from posthorn_smtp_out.slots import Slots
from posthorn_smtp_out.sources import Source
from posthorn_storage import Storage
from posthorn_testkit.dns import DnsServer
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service
from posthorn_testkit.sink import Sink

LONG = 90.0
SITE = "large.example"
SETTINGS = local("""
[cluster]
name = "test"
lease-ttl = "20s"
node-id = {node}
queue-shards = {shards}
secret = "a secret that all nodes share"
[server]
hostname = "out.example.org"
data = "{folder}/{node}"
drain-delay = "0s"
[resolver]
servers = ["{dns}"]
timeout = "60s"
[smtp-out]
port = {port}
poll = "100ms"
retry = ["1s"]
source = "own"
[smtp-out.sources.own]
addresses = ["127.0.1.{node}"]
""")
ROUTED = """
[smtp-out.routes]
"*.routed.example" = "relay"
[smtp-out.relays.relay]
hosts = ["127.0.0.2:{port}"]
[smtp-out.sites.relay]
connections = 3
messages-per-connection = 5
"""
SPREAD = """
[smtp-out.sites."large.example"]
connections = 5
messages-per-connection = 5
spread = 16
"""
Start = Callable[..., Awaitable[Any]]
Run = Callable[[int, str], AbstractAsyncContextManager[ServiceProcess]]


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Sink]:
    async with Sink(host="127.0.0.2") as started:
        yield started


@pytest_asyncio.fixture
async def run(postgres_dsn: str, storage: Storage, site: Sink, tmp_path: Path) -> AsyncIterator[Run]:
    """`async with run(1, more) as process` runs node 1 with more settings; what it sends comes from 127.0.1.1."""
    async with DnsServer({SITE: {"A": ["127.0.0.2"]}}) as dns:

        def begin(node: int, more: str) -> AbstractAsyncContextManager[ServiceProcess]:
            settings = (SETTINGS + more).format(
                node=node,
                folder=tmp_path,
                dsn=postgres_dsn,
                dns=dns.address,
                port=site.port,
                shards=storage.queue.shards,
            )
            path = tmp_path / f"{node}.toml"
            path.write_text(settings)
            return running_service("posthorn_smtp_out", path)

        yield begin


async def enqueue(storage: Storage, sites: list[str], count: int) -> None:
    for number in range(count):
        to = sites[number % len(sites)]
        blob = await storage.blobs.prepare(b"Message-ID: <%d@%b>\r\n\r\ntext\r\n" % (number, to.encode()))
        recipient = NewRecipient(f"u{number}@{to}", to, notify="NEVER")
        await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, [recipient]))


async def until(storage: Storage, state: RecipientState, count: int) -> None:
    async with asyncio.timeout(LONG):
        while (await storage.queue.depth())[state] != count:  # noqa: ASYNC110  another program's work
            await asyncio.sleep(0.05)


async def until_both_hold(storage: Storage) -> None:
    """Each of two processes has shards of its own, which it sends alone, however long that takes it."""
    async with asyncio.timeout(LONG):
        while True:
            holders = (await storage.leases.holders("queue/")).values()
            held = Counter(owner for owner, _, live in holders if live)
            if len(held) == 2 and held.total() == storage.queue.shards and min(held.values()) >= 4:
                return
            await asyncio.sleep(0.05)


def served(sink: Sink) -> Counter[str]:
    """How many messages came from each process."""
    return Counter(mail.client for mail in sink.mails)


async def until_both_served(sink: Sink, count: int) -> None:
    async with asyncio.timeout(LONG):
        while min(served(sink)[f"127.0.1.{node}"] for node in (1, 2)) < count:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


@pytest.mark.postgres
@pytest.mark.timeout(300)
async def test_the_limit_of_a_relay_holds_for_all_processes_together(storage: Storage, site: Sink, run: Run) -> None:
    sites = [f"s{number}.routed.example" for number in range(60)]
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(run(node, ROUTED)) for node in (1, 2)]
        await until_both_hold(storage)
        await enqueue(storage, sites, 240)
        await until_both_served(site, 20)
        assert await processes[0].end() == 0, processes[0].story()
        await until(storage, RecipientState.DELIVERED, 240)
        assert await processes[1].end() == 0, processes[1].story()
    assert site.most_connections <= 3
    assert len({mail.recipients for mail in site.mails}) == len(site.mails) == 240
    assert await storage.queue.shares.held(["relay"]) == []


@pytest.mark.postgres
@pytest.mark.timeout(300)
async def test_several_processes_serve_a_large_site_within_its_one_limit(
    storage: Storage, site: Sink, run: Run
) -> None:
    """What waited before it was spread too, and when one of them is killed."""
    await enqueue(storage, [SITE], 150)
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(run(node, SPREAD)) for node in (1, 2)]
        await until_both_hold(storage)
        await enqueue(storage, [SITE], 150)
        await until_both_served(site, 1)
        await first.kill()
        await until(storage, RecipientState.DELIVERED, 300)
        assert await second.end() == 0, second.story()
    assert site.most_connections <= 5
    assert len({mail.content for mail in site.mails}) == 150
    assert await storage.queue.spreads.all() == {SITE: 5}
    await storage._database.execute("DELETE FROM queue_share")
    await storage._database.execute("DELETE FROM queue_spread")


@pytest.mark.postgres
async def test_a_site_of_which_much_is_due_is_spread_by_itself_for_as_long(
    storage: Storage, site: Sink, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthorn_smtp_out.widening.MEASURE_SECONDS", 0.0)
    monkeypatch.setattr("posthorn_smtp_out.widening.GATHER_SECONDS", 3600.0)  # until it has been seen
    monkeypatch.setattr("posthorn_storage.queue.spreads.SETTLED", 0.0)
    gate = site.hold("MAIL")
    await enqueue(storage, [SITE], 100)
    async with DnsServer({SITE: {"A": ["127.0.0.2"]}}) as dns:
        resolver = Resolver(ResolverSettings(servers=(dns.address,), timeout=60.0))
        router = Router(resolver, hostname="out.example.org", port=site.port, relay=None, routes={})
        worker = await start(router, connections_per_site=4, spread_from=50, spread=16, connection_idle=0.2)
        await gate.reached.wait()
        await site.wait(10)
        assert not await storage.queue.spreads.all(), "one of its own connections is in use"
        gate.open.set()
        async with asyncio.timeout(LONG):
            while not await storage.queue.spreads.all():  # noqa: ASYNC110  the worker's doing
                await asyncio.sleep(0.01)
        monkeypatch.setattr("posthorn_smtp_out.widening.GATHER_SECONDS", 0.1)
        await site.wait(100)
        await until(storage, RecipientState.DELIVERED, 100)
        async with asyncio.timeout(LONG):
            while await storage.queue.spreads.all():  # noqa: ASYNC110  the worker's doing
                await asyncio.sleep(0.05)
        await enqueue(storage, [SITE], 10)
        await until(storage, RecipientState.DELIVERED, 110)
        await worker.leave()
    assert site.most_connections <= 4
    assert len(site.mails) == 110


@pytest.mark.postgres
async def test_a_site_behind_a_busy_relay_is_spread_at_once(storage: Storage, sink: Sink, start: Start) -> None:
    """The limit of the relay is shared out already."""
    home = storage.queue.shard_of(SITE)
    other = next(name for n in range(1000) if storage.queue.shard_of(name := f"o{n}.example") == home)
    gate = sink.hold("MAIL")
    await enqueue(storage, [other], 1)
    worker = await start(sites={SITE: {"spread": 4}})
    await gate.reached.wait()
    await enqueue(storage, [SITE], 20)
    async with asyncio.timeout(LONG):
        while await storage.queue.spreads.all() != {SITE: 4}:  # noqa: ASYNC110  the worker's doing
            await asyncio.sleep(0.01)
    gate.open.set()
    await until(storage, RecipientState.DELIVERED, 21)
    await worker.leave()
    assert len({mail.recipients for mail in sink.mails}) == len(sink.mails) == 21
    await storage._database.execute("DELETE FROM queue_spread")


@pytest.mark.postgres
async def test_who_holds_nothing_has_nothing_to_lose(storage: Storage, sink: Sink, start: Start) -> None:
    worker = await start(connection_idle=0.0)
    await enqueue(storage, [SITE], 3)
    await sink.wait(3)
    async with asyncio.timeout(LONG):
        while worker.sharing._deadline is not None:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)
    assert worker.pool.asks() == []


async def test_between_renewals_only_those_limits_are_asked_about_of_which_more_is_wanted() -> None:
    router = Router(Resolver(ResolverSettings()), hostname="out.example.org", port=25, relay=None, routes={})
    manners = Manners("out.example.org", "none", SendTimes(), client_context(verify=False))
    pool = Pool(router, lambda _: manners, lambda _: Limits(connections=2), shared=True)

    async def want(name: str) -> None:
        async with pool.connection(Destination(name, Relay((("127.0.0.1", 1),))), Source("", "out.example.org")):
            raise AssertionError("nothing was granted")

    def asked(*, more: bool) -> list[tuple[str, int]]:
        return sorted((ask.name, ask.wanted) for ask in pool.asks(more=more))

    waiting = []
    for name in ("a", "b", "a", "a"):
        waiting.append(asyncio.create_task(want(name)))
        await asyncio.sleep(0)
        if name == "b":
            assert asked(more=True) == [("a", 1), ("b", 1)]
            assert asked(more=True) == []
    assert asked(more=True) == [("a", 2)], "no more than its limit"
    assert asked(more=False) == [("a", 2), ("b", 1)]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert asked(more=True) == []
    assert asked(more=False) == [("a", 0), ("b", 0)], "given back"


def test_a_part_of_the_connections_is_the_same_part_of_the_rate() -> None:
    pace = Pace(Limits(connections=10, interval=1.0), (60.0,), next_start=0.0, share=2)
    assert [pace.turn(0.0) for _ in range(3)] == [0.0, 5.0, 10.0]
    assert (pace.connections, pace.room(relay=False)) == (2, 1)
    assert Pace(Limits(connections=10), (60.0,), next_start=0.0, share=0).room(relay=False) == 4


async def test_places_change_in_number_and_go_to_who_came_first() -> None:
    slots, order = Slots(1), list[int]()

    async def visit(number: int, leave: asyncio.Event) -> None:
        async with slots.place():
            order.append(number)
            await leave.wait()

    leaves = [asyncio.Event() for _ in range(4)]
    tasks = [asyncio.create_task(visit(number, leaves[number])) for number in range(4)]
    await asyncio.sleep(0)
    assert order == [0]
    slots.resize(2)
    tasks[2].cancel()
    await asyncio.gather(tasks[2], return_exceptions=True)
    assert order == [0, 1]
    slots.resize(1)
    leaves[0].set()
    await tasks[0]
    assert order == [0, 1]
    slots.dismiss(NotNow())
    with pytest.raises(NotNow):
        await tasks[3]
    leaves[1].set()
    await tasks[1]
    async with slots.place():
        pass
