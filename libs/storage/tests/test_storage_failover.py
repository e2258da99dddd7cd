"""Fail-over of a real pair: the primary is killed under load, and nothing that was acknowledged is lost."""

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from posthorn_model.errors import Unavailable
from posthorn_model.ids import AccountId, MailboxId, MessageId, Modseq
from posthorn_model.mail import NewMessage
from posthorn_storage import FsSettings, PoolSettings, Regions, ReplicaLimits, Storage, StorageSettings
from posthorn_storage.database import Connection, Database, DatabaseLimits
from posthorn_storage.mail.messages import MessageFields
from posthorn_storage.migrate import migrate
from posthorn_storage.shards.regions import register_regions
from posthorn_storage.shards.shard import HOME
from posthorn_testkit.failover import PatroniSet
from posthorn_testkit.replication import replication_set

pytestmark = pytest.mark.postgres
NAME = "posthorn"
COURIERS = 8
MakeMessage = Callable[..., NewMessage]


class Load:
    """Couriers that deliver each message until it is acknowledged, and what they were told; a reader that looks on."""

    def __init__(self, storage: Storage, account: AccountId, inbox: MailboxId, make: MakeMessage) -> None:
        self.storage = storage
        self.account = account
        self.inbox = inbox
        self.acknowledged: dict[MessageId, tuple[int, str]] = {}
        """UID and subject of what the couriers were told is stored."""
        self.tries = 0
        self.progress = asyncio.Event()
        self.over = asyncio.Event()
        self._make = make
        self._numbers = itertools.count()

    async def courier(self) -> None:
        while not self.over.is_set():
            subject = f"mail {next(self._numbers)}"
            message = self._make(self.account, self.inbox, subject=subject, delivery_id=uuid.uuid4())
            stored = await self.until_stored(message)
            self.acknowledged[stored[0]] = (stored[1], subject)
            self.progress.set()

    async def until_stored(self, message: NewMessage) -> tuple[MessageId, int]:
        while True:
            self.tries += 1
            try:
                (appended,) = await self.storage.mail.deliver(message)
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                ((_, _, uid),) = appended.uids
                return appended.message, uid

    async def reader(self) -> None:
        """No state is older than one seen before, and no message that was seen is another later."""
        last = Modseq(0)
        seen: dict[int, MessageId] = {}
        while not self.over.is_set():
            try:
                view = await self.storage.mail.view(self.account, self.inbox)
            except Unavailable:
                await asyncio.sleep(0.05)
                continue
            assert view.modseq >= last
            found = {entry.uid: entry.message for entry in view.entries}
            assert seen.items() <= found.items()
            last, seen = view.modseq, found
            await asyncio.sleep(0.02)

    async def acknowledges(self, more: int) -> None:
        """Wait until so many more were."""
        goal = len(self.acknowledged) + more
        while len(self.acknowledged) < goal:
            self.progress.clear()
            await self.progress.wait()


@pytest.mark.timeout(300)
async def test_a_primary_that_is_killed_under_load(
    patroni: PatroniSet, tmp_path: Path, new_message: MakeMessage
) -> None:
    """Its region is lost with it: the other region's standby takes over, and who reads there goes on there."""
    await patroni_database(patroni)
    dsn = patroni.dsn(NAME)
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await register_regions(connection, {HOME: "north"})
    await connection.close()
    first = await asyncio.to_thread(patroni.wait_for_pair)
    places = tuple("north" if member is first else "south" for member in patroni.members)
    pools = PoolSettings(
        replicas=patroni.replicas(NAME),
        # Servers that are busy are not gone: who is killed answers nobody, which is known at once.
        reading=ReplicaLimits(interval=0.1, answer=30.0),
        regions=Regions("south", "north", places),
    )
    storage = await Storage.open(StorageSettings(dsn=dsn, blobs=FsSettings(tmp_path), pools=pools))
    try:
        await storage.directory.add_domain("example.org")
        ann = (await storage.directory.add_account("ann@example.org", None)).id
        inbox = MailboxId((await storage.mail.mailboxes(ann))[0].id)
        load = Load(storage, ann, inbox, new_message)
        tasks = [asyncio.create_task(load.courier()) for _ in range(COURIERS)]
        tasks.append(asyncio.create_task(load.reader()))
        await load.acknowledges(100)
        killed = await asyncio.to_thread(patroni.wait_for_pair)
        assert killed is first
        replicas = storage.databases()["postgres"].replicas
        assert replicas is not None
        async with asyncio.timeout(60):
            while not replicas.counts()["replica"]:  # noqa: ASYNC110  somebody reads in the south
                await asyncio.sleep(0.05)
        await asyncio.to_thread(killed.kill)
        with pytest.raises(Unavailable):
            await storage.probe_database()
        await load.acknowledges(100)
        assert await asyncio.to_thread(patroni.primary) not in (killed, None)
        assert "PostgreSQL" in await storage.probe_database()
        killed.start()
        await asyncio.to_thread(patroni.wait_for_pair)
        async with asyncio.timeout(60):
            while not any(state.used for state in replicas.states()):  # noqa: ASYNC110  another program's work
                await asyncio.sleep(0.05)
        before = replicas.counts()["replica"]
        await load.acknowledges(50)
        assert replicas.counts()["replica"] == before, "the north's standby was read from, far away"
        load.over.set()
        await asyncio.gather(*tasks)
        assert load.tries > len(load.acknowledged)

        found = await storage.mail.messages(ann, list(load.acknowledged), MessageFields.SUMMARY)
        assert {one.id: one.subject for one in found} == {
            message: subject for message, (_, subject) in load.acknowledged.items()
        }
        entries = {entry.message: entry.uid for entry in await storage.mail.entries(ann, inbox)}
        assert entries == {message: uid for message, (uid, _) in load.acknowledged.items()}
        findings = [finding async for step in storage.check.accounts() for finding in step.findings]
        assert findings == []
        database = storage.databases()["postgres"].interactive
        assert await asyncio.gather(*(database.fetchval("SELECT 1") for _ in range(100))) == [1] * 100
    finally:
        await storage.close()


async def patroni_database(patroni: PatroniSet) -> None:
    connection = await asyncpg.connect(patroni.dsn())
    await connection.execute(f"CREATE DATABASE {NAME}")
    await connection.close()


async def test_connections_go_where_writes_are_taken() -> None:
    """A standby is passed over, a demoted primary is left at once, a host that hangs does not keep the next waiting."""
    with replication_set(1) as servers:
        (standby,) = servers.standbys
        limits = DatabaseLimits(connect=20, statement=5, pool_size=4, give_back=0.5)
        database = await Database.open(servers.dsn("postgres"), limits)
        try:
            assert await database.fetchval("SELECT inet_server_port()") == servers.primary.server.port
            await asyncio.gather(*(database.fetchval("SELECT pg_sleep(0.05)") for _ in range(4)))
            servers.primary.freeze()
            other = await asyncpg.connect(standby.dsn())
            await other.execute("SELECT pg_promote()")
            await other.close()
            with pytest.raises(Unavailable):
                await database.fetchval("SELECT 1")

            async def work(connection: Connection) -> int:
                await connection.execute("CREATE TEMPORARY TABLE written (n int) ON COMMIT DROP")
                return int(await connection.fetchval("SELECT inet_server_port()"))

            async with asyncio.timeout(90):
                places = [await _tried(database, work)]
                while places[-1] is None:
                    places.append(await _tried(database, work))
            assert places[-1] == standby.server.port
        finally:
            servers.primary.thaw()
            await database.close()


async def _tried(database: Database, work: Callable[[Connection], Awaitable[int]]) -> int | None:
    try:
        return await database.run(work)
    except Unavailable:
        return None
