"""SIGSTOP of an owner for three lease times, then SIGCONT: whatever it still writes is refused.

A role of maintenance and the shards of smtp-out, each with two real processes on a real database. A trigger writes down
who changed rows, and who held the lease at that moment: nobody else than the holder may ever be found there.
"""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import Storage
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service
from posthorn_testkit.sink import Sink

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(600)]
NODES = (1, 2, 3, 4)
LEASE = 8.0
OLD = 20_000
ROLE = "role/purge.stores"

SETTINGS = local("""
[cluster]
name = "test"
node-id = {node}
lease-ttl = "8s"
queue-shards = 4
secret = "a secret that all nodes share"
[server]
hostname = "node{node}.example.org"
data = "{folder}/{node}"
drain-delay = "0s"
[smtp-out]
relay = "{relay}"
poll = "50ms"
[maintenance]
purge-interval = "1s"
purge-batch = 1
""")

WITNESS = """
CREATE TABLE witness (name text NOT NULL, key text NOT NULL, owner text NOT NULL, at timestamptz NOT NULL);
CREATE FUNCTION witnessed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE of_lease text := '{role}';
BEGIN
    IF TG_TABLE_NAME = 'queue_recipient' THEN of_lease := 'queue/' || OLD.shard; END IF;
    INSERT INTO witness SELECT split_part(session_user, '_', 1), key, owner, clock_timestamp()
    FROM lease WHERE key = of_lease;
    RETURN NULL;
END $$;
CREATE TRIGGER witnessed AFTER UPDATE ON queue_recipient FOR EACH ROW EXECUTE FUNCTION witnessed();
CREATE TRIGGER witnessed AFTER DELETE ON delivery_seen FOR EACH ROW EXECUTE FUNCTION witnessed();
"""

OLD_ROWS = """
INSERT INTO delivery_seen (account_id, key, message_id, at)
SELECT n % 200, ('d' || n)::bytea, n, now() - interval '30 days' FROM generate_series(1, $1::int) n
"""

LATE = """
SELECT w.name, w.key, count(*) AS rows FROM witness w JOIN process p ON p.boot = w.owner
WHERE 'node' || p.node_id <> w.name GROUP BY w.name, w.key
"""
WRITES = "SELECT name, count(*) AS rows, max(at) AS last FROM witness GROUP BY name"
HOLDERS = """
SELECT l.key, p.node_id, l.epoch FROM lease l JOIN process p ON p.boot = l.owner
WHERE l.until > now() AND (l.key = $1 OR starts_with(l.key, 'queue/'))
"""


class Watch:
    """A connection beside all processes."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self._connection = connection

    async def holders(self) -> dict[str, tuple[int, int]]:
        """Node and epoch of each lease that is held."""
        rows = await self._connection.fetch(HOLDERS, ROLE)
        return {row["key"]: (row["node_id"], row["epoch"]) for row in rows}

    async def writes(self) -> dict[str, int]:
        """How many rows each process has changed under leases."""
        return {row["name"]: row["rows"] for row in await self._connection.fetch(WRITES)}

    async def late(self) -> list[tuple[str, str, int]]:
        """Rows that somebody changed who did not hold the lease: name, lease, how many."""
        return [tuple(row) for row in await self._connection.fetch(LATE)]


@pytest_asyncio.fixture
async def watch(postgres_dsn: str, storage: Storage) -> AsyncIterator[Watch]:
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(WITNESS.replace("{role}", ROLE))
    await connection.execute(OLD_ROWS, OLD)
    yield Watch(connection)
    await connection.close()


@pytest_asyncio.fixture
async def users(postgres_dsn: str) -> AsyncIterator[dict[int, str]]:
    """A user of the database for each node, so that it can tell them apart: their DSNs."""
    connection = await asyncpg.connect(postgres_dsn)
    word = secrets.token_hex(4)
    await connection.execute(
        "".join(f"CREATE ROLE node{node}_{word} SUPERUSER LOGIN PASSWORD '{word}';" for node in NODES)
    )
    parts = urlsplit(postgres_dsn)
    place = parts.netloc.rpartition("@")[2]
    yield {node: urlunsplit(parts._replace(netloc=f"node{node}_{word}:{word}@{place}")) for node in NODES}
    await connection.execute("".join(f"DROP ROLE node{node}_{word};" for node in NODES))
    await connection.close()


@pytest_asyncio.fixture
async def nodes(watch: Watch, users: dict[int, str], tmp_path: Path) -> AsyncIterator[dict[int, ServiceProcess]]:
    """Nodes 1 and 2 run maintenance, 3 and 4 smtp-out."""
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(Sink())
        running = {}
        for node, dsn in users.items():
            config = tmp_path / f"{node}.toml"
            config.write_text(SETTINGS.format(node=node, folder=tmp_path, dsn=dsn, relay=sink.address))
            module = "posthorn_maintenance" if node < 3 else "posthorn_smtp_out"
            running[node] = await stack.enter_async_context(running_service(module, config))
        for process in running.values():
            await process.logged(lambda line: line["event"] == "ready")
        yield running


async def mail(storage: Storage) -> None:
    """Queue mail to many sites, for ever."""
    number = 0
    while True:
        blob = await storage.blobs.prepare(b"Message-ID: <%d@example.org>\r\n\r\ntext\r\n" % number)
        recipients = [NewRecipient(f"u@site{site}.example.net", f"site{site}.example.net") for site in range(8)]
        await storage.queue.enqueue(NewQueueMessage("", blob, recipients))
        number += 1
        await asyncio.sleep(0.2)


@asynccontextmanager
async def in_time(watch: Watch, nodes: dict[int, ServiceProcess]) -> AsyncIterator[None]:
    """Two minutes. Raises AssertionError that tells who holds what then, and how many leases each process has lost."""
    try:
        async with asyncio.timeout(120):
            yield
    except TimeoutError:
        lost = {node: sum(" lost: " in line["event"] for line in process.lines) for node, process in nodes.items()}
        raise AssertionError(f"held: {await watch.holders()}, lost: {lost}") from None


async def test_late_writes_of_stopped_owners_are_refused(
    storage: Storage, watch: Watch, nodes: dict[int, ServiceProcess]
) -> None:
    mailing = asyncio.create_task(mail(storage))
    shards = {f"queue/{number}" for number in range(storage.queue.shards)}
    async with in_time(watch, nodes):
        before = await watch.holders()
        # Both of the queue's nodes have shards, somebody has the role, and all of them write.
        while not (
            before.keys() == shards | {ROLE}
            and {before[key][0] for key in shards} == {3, 4}
            and {f"node{node}" for node, _ in before.values()} <= (await watch.writes()).keys()
        ):
            await asyncio.sleep(0.1)
            before = await watch.holders()
    stopped = {before[ROLE][0], 3}
    lost = {key for key, (node, _) in before.items() if node in stopped}
    for node in stopped:
        nodes[node].signal(signal.SIGSTOP)
    await asyncio.sleep(3 * LEASE)
    taken: dict[str, int] = {}
    async with in_time(watch, nodes):
        # Long since; but on a slow machine one of the others may lose a lease in its turn.
        while lost - taken.keys():
            await asyncio.sleep(0.1)
            held = await watch.holders()
            taken |= {key: held[key][0] for key in lost & held.keys() if held[key][1] > before[key][1]}
    assert not set(taken.values()) & stopped
    counts = await watch.writes()
    for node in stopped:
        nodes[node].signal(signal.SIGCONT)
    for node in stopped:
        # Each lost lease is told, and with it what was under way and came to nothing.
        await nodes[node].logged(lambda line: "lost: " in line["event"] or "refused" in line["event"])
    async with in_time(watch, nodes):
        # Work goes on, by whomever; what the stopped ones still had to say is said by then.
        while sum((await watch.writes()).values()) < sum(counts.values()) + 300:  # noqa: ASYNC110  another program's work
            await asyncio.sleep(0.1)
    mailing.cancel()
    await asyncio.gather(mailing, return_exceptions=True)
    assert await watch.late() == []
