"""Leases and node ids: one owner at a time by the database's clock, and nothing for those who wake up late."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import partial

import asyncpg
import pytest

from posthorn_model.cluster import Process
from posthorn_model.errors import DuplicateNode, Unavailable
from posthorn_model.ids import Epoch, NodeId
from posthorn_storage import Fence, Storage
from posthorn_storage.database import Connection
from posthorn_storage.leases import FENCE
from posthorn_storage.queue.shares import Ask
from posthorn_testkit.contracts.leases import LeaseContract, LeaseTrial

pytestmark = pytest.mark.postgres
LONG = 3600.0
# The statement of `Fence.hold`, after which the transaction may stand still for as long as the test takes.
HOLD = f"""
WITH fence AS MATERIALIZED ({FENCE})
SELECT set_config('idle_in_transaction_session_timeout', '60s', true) FROM fence
"""


async def expire(storage: Storage, key: str) -> None:
    """Make a lease run out as if its time had passed."""
    await storage._database.execute("UPDATE lease SET until = now() - interval '1 second' WHERE key = $1", key)


@pytest.fixture
def trial(storage: Storage) -> LeaseTrial:
    async def write(key: str, epoch: Epoch) -> bool:
        while True:
            try:
                async with storage._database.transaction() as connection:
                    return await Fence(key, epoch).hold(connection)
            except Unavailable:  # it stood still for too long, so the server ended it
                continue

    return LeaseTrial(storage.leases, partial(expire, storage), write)


class TestLeaseStore(LeaseContract):
    """The whole contract."""


async def test_a_fence_holds_the_next_owner_off_until_the_commit(storage: Storage) -> None:
    await storage.leases.acquire(["k"], "a", LONG)
    await expire(storage, "k")
    async with storage._database.transaction() as connection:
        assert await connection.fetchval(HOLD, "k", Epoch(1))
        rival = asyncio.create_task(storage.leases.acquire(["k"], "b", LONG))
        # The rival's statement is at the row lock once PostgreSQL says so.
        while not await storage._database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ):
            assert not rival.done()
    assert await rival == {"k": 2}
    async with storage._database.transaction() as connection:
        assert not await Fence("k", Epoch(1)).hold(connection)


def process(node: int, boot: str, **changes: object) -> Process:
    fields = {
        "service": "imap",
        "hostname": "host",
        "region": "eu",
        "state": "ready",
        "address": {},
        "load": 0.25,
    } | changes
    return Process(node=NodeId(node), boot=boot, started_at=datetime.min, seen_at=datetime.min, live=False, **fields)  # type: ignore[arg-type]


async def test_node_ids_are_exclusive(storage: Storage) -> None:
    nodes = storage.nodes
    assert await nodes.claim_node(NodeId(3), "a", LONG) == 3
    assert await nodes.claim_node(NodeId(3), "a", LONG) == 3
    await nodes.beat(process(3, "boot-a", hostname="kirk"), "a", LONG)
    with pytest.raises(DuplicateNode, match=r"node id 3 .* live node .kirk"):
        await nodes.claim_node(NodeId(3), "b", LONG)
    for bad in (0, -1, 2**40):
        with pytest.raises(DuplicateNode):
            await nodes.claim_node(NodeId(bad), "b", LONG)


async def test_automatic_node_ids_are_the_lowest_free(storage: Storage) -> None:
    nodes = storage.nodes
    await nodes.claim_node(NodeId(2), "fixed", LONG)
    claimed = await asyncio.gather(*(nodes.claim_node(None, f"t{n}", LONG) for n in range(6)))
    assert sorted(claimed) == [1, 3, 4, 5, 6, 7]
    again = await asyncio.gather(*(nodes.claim_node(None, f"t{n}", LONG) for n in range(6)))
    assert again == claimed
    await expire(storage, "node/4")
    assert await nodes.claim_node(None, "new", LONG) == 4


async def test_a_heartbeat_without_the_id_writes_nothing(storage: Storage) -> None:
    nodes = storage.nodes
    await nodes.claim_node(NodeId(1), "a", LONG)
    assert (await nodes.beat(process(1, "boot-a"), "a", LONG)).held
    await expire(storage, "node/1")
    await nodes.claim_node(NodeId(1), "b", LONG)
    assert not (await nodes.beat(process(1, "boot-a", state="draining"), "a", LONG)).held
    assert [found.state for found in await nodes.live(60)] == ["ready"]


async def test_the_node_table_tells_who_lives(storage: Storage) -> None:
    nodes = storage.nodes
    await nodes.claim_node(NodeId(1), "a", LONG)
    directory = nodes.peer_directory("boot-1")
    await directory.announce({"bus": "tcp://127.0.0.1:1"})
    await nodes.beat(process(1, "boot-1", address={"health": "127.0.0.1:2"}), "a", LONG)
    await directory.announce({"bus-key": "k"})
    await nodes.beat(process(1, "boot-2", service="jmap"), "a", LONG)
    peers = await directory.live_peers()
    assert [(peer.boot, peer.node, peer.service) for peer in peers] == [("boot-1", 1, "imap"), ("boot-2", 1, "jmap")]
    assert peers[0].address == {"health": "127.0.0.1:2", "bus": "tcp://127.0.0.1:1", "bus-key": "k"}
    await storage._database.execute("UPDATE process SET seen_at = now() - interval '1 hour' WHERE boot = 'boot-2'")
    assert [found.boot for found in await nodes.live(60)] == ["boot-1"]
    assert {found.boot: found.live for found in await nodes.all(60)} == {"boot-1": True, "boot-2": False}
    assert await nodes.forget_dead(7200) == 0
    assert await nodes.forget_dead(60) == 1


async def test_a_wish_is_heard_with_the_next_heartbeat_and_ends_with_the_process(storage: Storage) -> None:
    nodes = storage.nodes
    for node, boot, host in ((1, "boot-1", "kirk"), (2, "boot-2", "kirk"), (3, "boot-3", "spock")):
        await nodes.claim_node(NodeId(node), boot, LONG)
        await nodes.beat(process(node, boot, address={"host": host}), boot, LONG)
    assert [found.boot for found in await nodes.drain([NodeId(3)])] == ["boot-3"]
    assert [found.boot for found in await nodes.drain(host="kirk")] == ["boot-1", "boot-2"]
    assert await nodes.drain([NodeId(4)]) == await nodes.drain(host="scott") == []
    assert (await nodes.beat(process(3, "boot-3"), "boot-3", LONG)).wish == "drain"
    await nodes.leave("boot-3")
    await nodes.claim_node(NodeId(3), "again", LONG)
    assert (await nodes.beat(process(3, "boot-4"), "again", LONG)).wish == ""
    assert {found.boot: found.wish for found in await nodes.all(60)}["boot-3"] == "drain"


async def test_the_last_process_to_leave_frees_the_node_id(storage: Storage) -> None:
    nodes = storage.nodes
    await nodes.claim_node(NodeId(1), "a", LONG)
    await nodes.beat(process(1, "boot-1"), "a", LONG)
    await nodes.beat(process(1, "boot-2"), "a", LONG)
    await nodes.leave("boot-1")
    with pytest.raises(DuplicateNode):
        await nodes.claim_node(NodeId(1), "b", LONG)
    await nodes.leave("boot-2")
    await nodes.leave("boot-2")
    await nodes.leave("unknown")
    assert await nodes.claim_node(NodeId(1), "b", LONG) == 1
    assert await nodes.live(60) == []


async def test_what_a_dead_process_had_is_free_at_once(storage: Storage) -> None:
    nodes, leases = storage.nodes, storage.leases
    await nodes.claim_node(NodeId(1), "a", LONG)
    for boot in ("dead", "lives"):
        await nodes.beat(process(1, boot), "a", LONG)
        await leases.acquire([f"queue/{boot}"], boot, LONG)
        await storage.queue.shares.ask(boot, [Ask("relay", 10, 5, 0)], LONG)
    assert await nodes.bury("dead", "a") == 1
    assert [share.holder for share in await storage.queue.shares.held(["relay"])] == ["lives"]
    assert {key: left > 0 for key, (_, _, left) in (await leases.holders("queue/")).items()} == {
        "queue/dead": False,
        "queue/lives": True,
    }
    # Another process has the node's id too.
    with pytest.raises(DuplicateNode):
        await nodes.claim_node(NodeId(1), "b", LONG)
    assert [found.boot for found in await nodes.live(60)] == ["lives"]
    assert await nodes.bury("lives", "another node's") == 1
    with pytest.raises(DuplicateNode):
        await nodes.claim_node(NodeId(1), "b", LONG)


async def test_the_id_of_a_dead_process_is_free_when_it_was_alone(storage: Storage) -> None:
    nodes = storage.nodes
    await nodes.claim_node(NodeId(1), "a", LONG)
    await nodes.beat(process(1, "dead"), "a", LONG)
    assert await nodes.bury("unknown", "a") == 0
    assert await nodes.bury("dead", "a") == 1
    assert await nodes.bury("dead", "a") == 0
    assert await nodes.claim_node(NodeId(1), "b", LONG) == 1
    assert not (await nodes.beat(process(1, "dead"), "a", LONG)).held


async def test_a_transaction_may_stand_still_no_longer_than_its_lease_lasts(storage: Storage) -> None:
    async def allowed(ttl: float) -> int:
        """Milliseconds under a lease that lasts so many seconds."""
        while True:
            epoch = (await storage.leases.acquire(["k"], "a", ttl))["k"]
            try:
                async with storage._database.transaction() as connection:
                    assert await Fence("k", epoch).hold(connection)
                    name = "idle_in_transaction_session_timeout"
                    return int(await connection.fetchval("SELECT setting FROM pg_settings WHERE name = $1", name))
            except Unavailable:  # it stood still for longer than that
                continue

    assert await allowed(LONG) == 3000
    assert 500 <= await allowed(2.0) <= 2000
    assert await allowed(0.1) == 500


async def test_a_holder_that_takes_no_answer_keeps_the_lease_from_nobody(storage: Storage, postgres_dsn: str) -> None:
    """Paused while it is told more than what stands between takes: the server has no more to wait for than the wire."""
    old = (await storage.leases.acquire(["queue/1"], "old", LONG))["queue/1"]
    holder = await asyncpg.connect(postgres_dsn)
    much = await holder.prepare(
        f"WITH fence AS MATERIALIZED ({FENCE}) SELECT repeat('x', 1000) FROM fence, generate_series(1, 100000)"
    )
    holder._transport.pause_reading()
    asking = asyncio.create_task(much.fetch("queue/1", old))
    async with asyncio.timeout(60):
        # "gone": it was seen only after the server had ended it.
        while (await told(storage, holder.get_server_pid())) not in ("ClientWrite", "gone"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        taken = await taken_by_another(storage)
    assert taken == {"queue/1": old + 1}
    assert not asking.done()
    asking.cancel()
    holder.terminate()
    await asyncio.gather(asking, return_exceptions=True)


async def told(storage: Storage, backend: int) -> str | None:
    """What a backend waits for; "gone" when there is none any more."""
    waits: str | None = await storage._database.fetchval(
        "SELECT CASE WHEN count(*) = 0 THEN 'gone' ELSE max(wait_event) END FROM pg_stat_activity WHERE pid = $1",
        backend,
    )
    return waits


async def taken_by_another(storage: Storage) -> Mapping[str, Epoch]:
    """As if its time had passed, by one who need not wait for the row."""
    while True:
        try:
            await expire(storage, "queue/1")
            if taken := await storage.leases.acquire(["queue/1"], "new", LONG):
                return taken
        except Unavailable:
            continue


async def test_a_holder_that_stands_still_in_its_transaction_keeps_the_lease_from_nobody(storage: Storage) -> None:
    """Paused or cut off between two statements: the server ends the transaction, and with it the hold on the lease."""
    database, leases, begun = storage._database, storage.leases, asyncio.Event()
    old = (await leases.acquire(["queue/1"], "old", LONG))["queue/1"]

    async def paused(connection: Connection) -> None:
        assert await Fence("queue/1", old).hold(connection)
        begun.set()
        await asyncio.sleep(90)
        await connection.execute("SELECT 1")

    standing = asyncio.create_task(database.run(paused))
    await begun.wait()
    async with asyncio.timeout(60):
        taken = await taken_by_another(storage)
    assert taken == {"queue/1": old + 1}
    assert not standing.done()
    standing.cancel()
    await asyncio.gather(standing, return_exceptions=True)
