"""Membership over the real node table: ids leased, heartbeats seen, duplicates refused, processes that leave."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.clock import SystemClock
from posthorn_model.cluster import Process, Standing
from posthorn_model.errors import DuplicateNode
from posthorn_node.bans import Bans
from posthorn_node.health import Health
from posthorn_node.logs import Identity, open_log
from posthorn_node.membership import Membership
from posthorn_node.metrics import Metrics
from posthorn_node.node import Node
from posthorn_node.settings import ClusterSettings, LogSettings, NodeSettings
from posthorn_node.tasks import Tasks
from posthorn_node.tls import TlsContexts
from posthorn_storage.database import Database
from posthorn_storage.nodes import NodeStore

pytestmark = pytest.mark.postgres
PATIENCE = 60


@pytest_asyncio.fixture
async def database(postgres_dsn: str) -> AsyncIterator[Database]:
    found = await Database.open(postgres_dsn)
    yield found
    await found.close()


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await true():  # noqa: ASYNC110 (a bounded poll of what others write)
            await asyncio.sleep(0.01)


class Processes:
    """Makes the nodes of a test, all on one database, and ends them."""

    def __init__(self, store: NodeStore, stream: io.StringIO) -> None:
        self.store = store
        self.stream = stream
        self.nodes: list[Node] = []

    def node(self, boot: str, token: str, **cluster: Any) -> Node:
        timing = {"heartbeat": 0.05, "failure_after": 30.0, "lease_ttl": 4.0, **cluster}
        settings = NodeSettings(cluster=ClusterSettings(region="eu", **timing))
        identity = Identity("imap", str(settings.cluster.node_id), boot)
        log = open_log(LogSettings(format="json"), identity, self.stream)
        clock = SystemClock()
        tls, bans = TlsContexts(settings.server), Bans(clock.monotonic)
        made = Node(
            "imap", settings, None, log, Metrics(), Tasks(log), Health(clock), clock, tls, bans, boot, token, identity
        )
        self.nodes.append(made)
        return made

    def member(self, boot: str, token: str, **cluster: Any) -> Membership:
        return Membership(self.node(boot, token, **cluster), self.store, load=lambda: 0.25)

    def events(self, boot: str) -> list[str]:
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line["event"] for line in lines if line["boot"] == boot]


@pytest_asyncio.fixture
async def processes(database: Database, stream: io.StringIO) -> AsyncIterator[Processes]:
    found = Processes(NodeStore(database, failure_after=30.0), stream)
    yield found
    for node in found.nodes:
        await node.tasks.stop()


async def test_processes_of_one_node_share_its_id_and_nodes_do_not(processes: Processes) -> None:
    members = [processes.member("a1", "a"), processes.member("a2", "a"), processes.member("b1", "b")]
    for member in members:
        await member.join()
    assert [member.node_id for member in members] == [1, 1, 2]
    assert [node.identity.node for node in processes.nodes] == ["1", "1", "2"]
    assert {process.boot for process in await processes.store.live(30.0)} == {"a1", "a2", "b1"}


async def test_row_tells_state_load_and_address_as_they_change(processes: Processes) -> None:
    member = processes.member("a1", "a", node_id=7)
    node = processes.nodes[0]
    node.address["health"] = "127.0.0.1:9090"
    await member.join()
    (process,) = await processes.store.live(30.0)
    assert (process.node, process.service, process.region, process.load) == (7, "imap", "eu", 0.25)
    assert (process.state, dict(process.address)) == ("starting", {"health": "127.0.0.1:9090"})

    async def state_is(state: str) -> bool:
        return (await processes.store.live(30.0))[0].state == state

    node.health.state = "ready"
    await until(lambda: state_is("ready"))


async def test_the_wish_to_drain_reaches_the_process(processes: Processes) -> None:
    member = processes.member("a1", "a", node_id=7)
    reasons: list[str] = []
    processes.nodes[0].leave = reasons.append
    await member.join()
    assert reasons == []
    await processes.store.drain([member.node_id])

    async def is_told() -> bool:
        return bool(reasons)

    await until(is_told)
    assert set(reasons) == {"the operator drains this node"}


async def test_leaving_frees_the_id_at_once(processes: Processes) -> None:
    first, second = processes.member("a1", "a", node_id=7), processes.member("b1", "b", node_id=7)
    await first.join()
    await first.leave()
    assert await processes.store.live(30.0) == []
    await second.join()
    assert second.node_id == 7
    assert "node id is still held; waiting for its lease to end" not in processes.events("b1")


class SlowToBeat(NodeStore):
    """The real store; the second heartbeat takes its way to the database only when it may."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, failure_after=30.0)
        self.under_way, self.may_go, self.written = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._beats = 0

    async def beat(self, process: Process, token: str, ttl: float) -> Standing:
        self._beats += 1
        if self._beats == 2:
            self.under_way.set()
            await self.may_go.wait()
        standing = await super().beat(process, token, ttl)
        if self.under_way.is_set():
            self.written.set()
        return standing


async def test_a_heartbeat_under_way_does_not_bring_back_who_leaves(processes: Processes, database: Database) -> None:
    processes.store = store = SlowToBeat(database)
    first, second = processes.member("a1", "a", node_id=7), processes.member("b1", "b", node_id=7)
    await first.join()
    async with asyncio.timeout(PATIENCE):
        await store.under_way.wait()
        leaving = asyncio.create_task(first.leave())
        await asyncio.wait([leaving], timeout=0.2)
        store.may_go.set()
        await store.written.wait()
        await leaving
    assert [found.state for found in await store.all()] == ["left"]
    await second.join()
    assert "node id is still held; waiting for its lease to end" not in processes.events("b1")


async def test_duplicate_id_is_refused_while_its_holder_lives(processes: Processes) -> None:
    # Longer leases than elsewhere: a heartbeat may be late for seconds.
    holder = processes.member("a1", "a", node_id=7, lease_ttl=15.0)
    await holder.join()
    with pytest.raises(DuplicateNode):
        await processes.member("b1", "b", node_id=7, lease_ttl=15.0).join()
    assert "node id is still held; waiting for its lease to end" in processes.events("b1")
    assert processes.nodes[1].identity.node == "7"
    assert [process.boot for process in await processes.store.live(30.0)] == ["a1"]


async def test_former_life_that_was_killed_is_waited_for(processes: Processes) -> None:
    """A node with a fixed id was killed (no leave, no heartbeat) and starts again as a stranger to its lease."""
    await processes.member("a1", "a", node_id=7).join()
    await processes.nodes[0].tasks.stop()
    again = processes.member("a2", "b", node_id=7)
    await again.join()
    assert again.node_id == 7


async def test_node_whose_id_was_taken_ends(processes: Processes, database: Database) -> None:
    member = processes.member("a1", "a", node_id=7)
    await member.join()
    async with database.connection() as connection:
        await connection.execute("UPDATE lease SET owner = 'thief' WHERE key = 'node/7'")
    async with asyncio.timeout(PATIENCE):
        await processes.nodes[0].tasks.failed.wait()
    assert "task crashed" in processes.events("a1")


async def test_database_that_is_away_costs_heartbeats_not_the_process(processes: Processes, database: Database) -> None:
    member = processes.member("a1", "a", node_id=7)
    await member.join()
    await database.close()

    async def told() -> bool:
        return "heartbeat failed" in processes.events("a1")

    await until(told)
    assert not processes.nodes[0].tasks.failed.is_set()
    await member.leave()
    assert "could not leave the node table" in processes.events("a1")
