"""Read replicas: an account never goes back in time, whatever happens to the servers it is read from."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from posthorn_model.errors import AccountNotFound
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.ids import AccountId, Modseq
from posthorn_model.mail import NewMessage
from posthorn_storage import FsSettings, Regions, Storage, StorageSettings
from posthorn_storage.database import Connection, Database, DatabaseLimits, Pools, PoolSizes, ReplicaLimits
from posthorn_storage.database.positions import Positions, Written
from posthorn_storage.migrate import migrate
from posthorn_storage.settings import PoolSettings
from posthorn_testkit.databases import Databases
from posthorn_testkit.replication import ReplicatedServer, ReplicationSet, replication_set

pytestmark = pytest.mark.postgres

TABLE = "CREATE TABLE probe (account bigint PRIMARY KEY, n bigint NOT NULL)"
STEP = "INSERT INTO probe VALUES ($1, 1) ON CONFLICT (account) DO UPDATE SET n = probe.n + 1 RETURNING n"
READ = "SELECT n FROM probe WHERE account = $1"
ANN = AccountId(1)
LIMITS = ReplicaLimits(interval=0.05, max_lag=1.0)
PATIENT = replace(LIMITS, answer=60.0)
"""Where all servers answer, sooner or later."""


class Process:
    """What one process does: it changes accounts, tells of it, and reads them."""

    def __init__(self, pools: Pools) -> None:
        self.pools = pools
        self.told: list[Changed] = []
        self.tell = pools.telling(self.told.append)

    @property
    def states(self) -> list[str]:
        assert self.pools.replicas is not None
        return [state.reason for state in self.pools.replicas.states()]

    def count(self, name: str) -> int:
        assert self.pools.replicas is not None
        return self.pools.replicas.counts().get(name, 0)

    def place(self, database: Database) -> str:
        """Where work was given this database to read: "primary" or "replica"."""
        return "primary" if database is self.pools.interactive else "replica"

    async def change(self, account: AccountId) -> int:
        async def work(connection: Connection) -> int:
            number: int = await connection.fetchval(STEP, account)
            return number

        number = await self.pools.delivery.run(work)
        self.tell(Changed(account, Modseq(number), frozenset({ChangeKind.EMAIL})))
        return number

    async def read(self, account: AccountId) -> int:
        async def work(database: Database) -> int:
            async with database.transaction(isolation="repeatable_read", read_only=True) as connection:
                return await connection.fetchval(READ, account) or 0

        return await self.pools.read(account, work)

    async def read_from_replica(self, account: AccountId) -> int:
        """Read until a replica answered."""
        before = self.count("replica")
        while True:
            found = await self.read(account)
            if self.count("replica") > before:
                return found
            await asyncio.sleep(0.01)

    async def hears(self, number: int) -> Changed:
        """The event of that number, once it was told."""
        while True:
            if len(self.told) >= number:
                return self.told[number - 1]
            await asyncio.sleep(0)

    async def until(self, *reasons: str) -> None:
        """Wait until each replica's reason to be left out begins as told ("" for none)."""
        while True:
            pairs = list(zip(self.states, reasons, strict=True))
            if all(state.startswith(reason) and bool(state) == bool(reason) for state, reason in pairs):
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def process(
    servers: ReplicationSet, dsn: str, limits: ReplicaLimits = LIMITS, regions: Regions | None = None
) -> AsyncIterator[Process]:
    replicas = [standby.dsn(urlsplit(dsn).path[1:]) for standby in servers.standbys]
    patient = DatabaseLimits(connect=30.0, acquire=30.0)  # a busy machine is not what these tests are about
    pools = await Pools.open(dsn, PoolSizes(10), patient, replicas=replicas, reading=limits, regions=regions)
    try:
        yield Process(pools)
    finally:
        await pools.close()


@pytest.fixture
def dsn(replication: ReplicationSet) -> Iterator[str]:
    databases = Databases(replication.primary.dsn(), migrate)
    with databases.bare() as made:
        yield made


@pytest_asyncio.fixture
async def one(replication: ReplicationSet, dsn: str) -> AsyncIterator[Process]:
    async with process(replication, dsn) as made:
        await made.pools.interactive.execute(TABLE)
        await made.until("", "")
        yield made


async def say(server: ReplicatedServer, *statements: str) -> None:
    connection = await asyncpg.connect(server.dsn())
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_reads_go_to_replicas_and_see_what_was_written_before(one: Process) -> None:
    for number in range(1, 101):
        assert await one.change(ANN) == number
        assert await one.read(ANN) == number
    assert await one.read_from_replica(ANN) == 100
    # A look at a server that came late leaves the replicas out for a moment, in which the primary is read from.
    async with asyncio.timeout(60):
        before = float("inf")
        while one.count("replica") <= before + 25:
            before = one.count("replica")
            assert [await one.read(ANN) for _ in range(50)] == [100] * 50


@pytest.mark.usefixtures("one")
async def test_what_is_told_carries_where_it_is_in_the_log(replication: ReplicationSet, dsn: str) -> None:
    """Another process that hears of a change reads it at once; so does one that is told without the position."""
    async with process(replication, dsn, PATIENT) as teller, process(replication, dsn) as other:
        await other.until("", "")
        for number in range(1, 51):
            await teller.change(ANN)
            event = await teller.hears(number)
            assert event.position
            other.pools.heard(event if number % 2 else Changed(event.account, event.modseq, event.kinds))
            assert await other.read(ANN) >= number
        assert await other.read_from_replica(ANN) == 50


async def test_a_replica_that_does_not_replay_is_not_read_from(one: Process, replication: ReplicationSet) -> None:
    await one.change(ANN)
    for standby in replication.standbys:
        await say(standby, "SELECT pg_wal_replay_pause()")
    try:
        assert await one.change(ANN) == 2
        before = one.count("replica")
        for _ in range(20):
            assert await one.read(ANN) == 2
        assert one.count("replica") == before
        while not all("behind" in state for state in one.states):
            await one.change(AccountId(2))
            await asyncio.sleep(0.02)
        assert one.pools.replicas is not None
        assert all(state.lag_bytes > 0 and state.lag_seconds > 1 for state in one.pools.replicas.states())
    finally:
        for standby in replication.standbys:
            await say(standby, "SELECT pg_wal_replay_resume()")
    await one.until("", "")
    assert await one.read_from_replica(ANN) == 2


async def test_a_replica_that_dies_is_left_out_and_comes_back(one: Process, replication: ReplicationSet) -> None:
    await one.change(ANN)
    standby = replication.standbys[0]
    await asyncio.to_thread(standby.kill)
    try:
        reads = await asyncio.gather(*(one.read(AccountId(number % 5)) for number in range(200)))
        assert set(reads) == {0, 1}
        await one.until("no answer", "")
        assert await one.read_from_replica(ANN) == 1
    finally:
        standby.start()
    await one.until("", "")


async def test_readers_do_not_wait_for_a_replica_that_hangs(one: Process, replication: ReplicationSet) -> None:
    accounts = [AccountId(number) for number in range(20)]
    for account in accounts:
        await one.change(account)
    for account in accounts:
        await one.read_from_replica(account)
    for standby in replication.standbys:
        standby.freeze()
    try:
        async with asyncio.timeout(30):
            assert await asyncio.gather(*(one.read(account) for account in accounts)) == [1] * 20
        await one.until("no answer", "no answer")
        assert await one.change(ANN) == 2
        assert await one.read(ANN) == 2
    finally:
        for standby in replication.standbys:
            standby.thaw()
    await one.until("", "")
    assert await one.read_from_replica(ANN) == 2


async def test_a_read_is_not_kept_by_a_replica_that_hangs_in_the_middle_of_it(
    one: Process, replication: ReplicationSet
) -> None:
    """Its transaction there cannot be rolled back: without a limit of its own that takes as long as a statement may."""
    await one.change(ANN)
    await one.read_from_replica(ANN)
    tries: list[str] = []

    async def work(database: Database) -> int:
        where = one.place(database)
        tries.append(where)
        async with database.transaction(isolation="repeatable_read", read_only=True) as connection:
            await connection.fetchval("SELECT 1")
            if where == "replica":
                for standby in replication.standbys:
                    standby.freeze()
            found: int = await connection.fetchval(READ, ANN)
            return found

    try:
        while "replica" not in tries:
            async with asyncio.timeout(30):
                assert await one.pools.read(ANN, work) == 1
    finally:
        for standby in replication.standbys:
            standby.thaw()
    assert tries[-2:] == ["replica", "primary"]
    await one.until("", "")
    assert await one.read_from_replica(ANN) == 1


async def test_a_read_that_replay_cancels_is_done_again_on_the_primary(
    one: Process, replication: ReplicationSet
) -> None:
    await one.change(ANN)
    await one.read_from_replica(ANN)
    tries: list[str] = []

    async def work(database: Database) -> int:
        where = one.place(database)
        tries.append(where)
        async with database.transaction(isolation="repeatable_read", read_only=True) as connection:
            found: int = await connection.fetchval(READ, ANN)
            if where == "replica":
                await one.pools.maintenance.execute("ALTER TABLE probe ADD COLUMN more int")
                await connection.execute("SELECT pg_sleep(60)")
            return found

    for standby in replication.standbys:
        await say(standby, "ALTER SYSTEM SET max_standby_streaming_delay = 0", "SELECT pg_reload_conf()")
    try:
        while "replica" not in tries:
            assert await one.pools.read(ANN, work) == 1
    finally:
        for standby in replication.standbys:
            await say(standby, "ALTER SYSTEM RESET max_standby_streaming_delay", "SELECT pg_reload_conf()")
    assert tries[-2:] == ["replica", "primary"]


async def test_what_a_replica_does_not_find_the_primary_is_asked_for(one: Process) -> None:
    await one.change(ANN)
    await one.read_from_replica(ANN)

    async def work(database: Database) -> str:
        if database is not one.pools.interactive:
            raise AccountNotFound
        return "here"

    assert await one.pools.read(ANN, work) == "here"


async def test_a_standby_that_was_promoted_is_left_out() -> None:
    with replication_set(1) as servers:
        async with process(servers, servers.primary.dsn()) as one:
            await one.pools.interactive.execute(TABLE)
            await one.until("")
            await one.change(ANN)
            await one.read_from_replica(ANN)
            await say(servers.standbys[0], "SELECT pg_promote()", "DROP TABLE probe")
            for _ in range(20):
                assert await one.read(ANN) == 1
            await one.until("not a standby")


async def test_standbys_of_another_cluster_are_left_out(replication: ReplicationSet) -> None:
    with replication_set(1) as servers:
        stranger = ReplicationSet(servers.primary, replication.standbys)
        async with process(stranger, servers.primary.dsn()) as one:
            await one.until("of another cluster", "of another cluster")
            assert await one.pools.read(ANN, lambda database: database.fetchval("SELECT 1")) == 1


async def test_no_account_goes_back_in_time(one: Process, replication: ReplicationSet, dsn: str) -> None:
    """Two processes change and read the same accounts while standbys are killed, paused, frozen and started again."""
    accounts = [AccountId(number) for number in range(1, 7)]
    committed = dict.fromkeys(accounts, 0)
    over = asyncio.Event()

    async def write(own: Process, other: Process, account: AccountId) -> None:
        while not over.is_set():
            number = await own.change(account)
            committed[account] = max(committed[account], number)
            while own.told:
                other.pools.heard(own.told.pop(0))
            await asyncio.sleep(0.003)

    async def read(own: Process, mine: bool, account: AccountId) -> int:
        last = count = 0
        while not over.is_set():
            at_least = committed[account] if mine else last
            found = await own.read(account)
            assert found >= at_least
            assert found >= last
            last, count = found, count + 1
            await asyncio.sleep(0)
        return count

    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(process(replication, dsn))
        await other.until("", "")

        def places() -> int:
            """How often at least each of the places was read from."""
            return min(one.count("replica"), one.count("primary"), other.count("replica"))

        tasks = [asyncio.create_task(write(one, other, account)) for account in accounts]
        tasks += [asyncio.create_task(read(one, True, account)) for account in accounts]
        tasks += [asyncio.create_task(read(other, False, account)) for account in accounts]
        first, second = replication.standbys
        try:
            for harm, heal in [
                (first.freeze, first.thaw),
                (second.kill, second.start),
                (first.stop, first.start),
                (second.freeze, second.thaw),
            ]:
                await asyncio.sleep(0.3)
                await asyncio.to_thread(harm)
                await asyncio.sleep(0.3)
                heal()
            await one.until("", "")
            await asyncio.sleep(0.3)
            async with asyncio.timeout(60):
                while not places() and not any(task.done() for task in tasks):  # noqa: ASYNC110 (what tasks count)
                    await asyncio.sleep(0.01)
        finally:
            over.set()
            first.thaw()
            second.thaw()
        await asyncio.gather(*tasks)
        assert places() > 0


async def test_a_mail_store_shows_what_it_stored(
    replication: ReplicationSet, tmp_path: Path, new_message: Callable[..., NewMessage]
) -> None:
    databases = Databases(replication.primary.dsn(), migrate)
    with databases.fresh() as dsn:
        replicas = tuple(standby.dsn(urlsplit(dsn).path[1:]) for standby in replication.standbys)
        pools = PoolSettings(replicas=replicas, reading=LIMITS)
        storage = await Storage.open(StorageSettings(dsn=dsn, blobs=FsSettings(tmp_path), pools=pools))
        told: list[Changed] = []
        storage.on_change = told.append
        try:
            replicas_of_home = storage.databases()["postgres"].replicas
            assert storage.has_replicas
            assert replicas_of_home is not None
            await storage.directory.add_domain("example.org")
            ann = (await storage.directory.add_account("ann@example.org", None)).id
            inbox = (await storage.mail.mailboxes(ann))[0].id
            for number in range(1, 11):
                await storage.mail.deliver([new_message(ann, inbox, subject=f"mail {number}")])
                before = replicas_of_home.counts().get("replica", 0)
                while replicas_of_home.counts().get("replica", 0) < before + 2:
                    view = await storage.mail.view(ann, inbox)
                    assert [entry.uid for entry in view.entries] == list(range(1, number + 1))
                    assert await storage.mail.state(ann) == view.modseq
                    await asyncio.sleep(0.02)
                assert await storage.mail.current_state(ann) == view.modseq
            assert (await storage.mail.modseqs([ann]))[ann] == view.modseq
        finally:
            await storage.close()
        assert told[-1].modseq == view.modseq
        assert any(event.position for event in told)


async def test_a_new_account_is_not_looked_for_where_it_is_not_yet(replication: ReplicationSet, tmp_path: Path) -> None:
    """Neither by the process that made it nor by another, which knows of it from the directory."""
    databases = Databases(replication.primary.dsn(), migrate)
    async with AsyncExitStack() as stack:
        dsn = stack.enter_context(databases.fresh())
        replicas = tuple(standby.dsn(urlsplit(dsn).path[1:]) for standby in replication.standbys)
        # The looks are so seldom that none comes between: the last one found nothing that was not replayed.
        pools = PoolSettings(replicas=replicas, reading=ReplicaLimits(interval=2.0, fresh=60.0))
        settings = StorageSettings(dsn=dsn, blobs=FsSettings(tmp_path), pools=pools)
        both = await Storage.open(settings), await Storage.open(settings)
        for storage in both:
            stack.push_async_callback(storage.close)
        await both[0].directory.add_domain("example.org")
        for storage in both:
            of_home = storage.databases()["postgres"].replicas
            assert of_home is not None
            while not all(state.used for state in of_home.states()):  # noqa: ASYNC110 (a poll of what others do)
                await asyncio.sleep(0.01)
        for standby in replication.standbys:
            await say(standby, "SELECT pg_wal_replay_pause()")
        try:
            ann = (await both[0].directory.add_account("ann@example.org", None)).id
            assert [len(await storage.mail.mailboxes(ann)) for storage in both] == [6, 6]
        finally:
            for standby in replication.standbys:
                await say(standby, "SELECT pg_wal_replay_resume()")


def test_positions_are_kept_for_the_accounts_met_last() -> None:
    positions = Positions(limit=2)
    here, there = object(), object()
    look = Written(begun=10.0, system=7, timeline=1, position=1000)
    positions.seen(ANN, 5.0)
    assert positions.needed(ANN, here, look, 20.0) == 1000
    positions.changed(ANN, 1500, 20.0)
    assert positions.needed(ANN, here, look, 20.0) == 1500
    positions.read(ANN, here, 10.5, 11.0, 1600)
    assert positions.needed(ANN, here, look, 20.0) == 1600
    assert positions.needed(ANN, there, look, 20.0) is None
    assert positions.needed(ANN, there, Written(12.0, 7, 1, 1800), 20.0) == 1800
    positions.seen(AccountId(2), 5.0)
    positions.seen(AccountId(3), 5.0)
    positions.read(AccountId(3), here, 4.0, 6.0, 100)
    assert positions.needed(AccountId(3), here, Written(5.5, 7, 1, 1000), 20.0) is None
    assert positions.needed(ANN, here, look, 20.0) is None, "it was forgotten, and is met for the first time"


def test_an_account_met_for_the_first_time_may_be_new() -> None:
    positions = Positions()
    here = object()
    assert positions.needed(ANN, here, Written(10.0, 7, 1, 1000), 20.0) is None
    assert positions.needed(ANN, here, Written(20.5, 7, 1, 1000), 21.0) == 1000
    positions.clear()
    assert positions.needed(ANN, here, Written(20.5, 7, 1, 1000), 22.0) is None
    positions.changed(AccountId(2), 500, 30.0)
    assert positions.needed(AccountId(2), here, Written(20.5, 7, 1, 1000), 31.0) is None


@pytest.mark.parametrize(
    "text",
    ["", "7/1", "7/1/x", "8/1/5", "7/2/5", "7/1/5/6", "7/1/-5", "7/1/" + "9" * 500, "7/1/\u0661", "a/b/c", "7//5"],
)
def test_positions_of_strangers_say_nothing(text: str) -> None:
    assert Written(time.monotonic(), 7, 1, 1000).position_in(text) is None


PORT = "SELECT inet_server_port()"


async def ports(process: Process, accounts: int = 6) -> set[int]:
    """Of the servers that the accounts are read from; only what replicas or the primary answer counts."""

    async def work(database: Database) -> int:
        found: int = await database.fetchval(PORT)
        return found

    return {await process.pools.read(AccountId(account), work) for account in range(1, accounts)}


async def reads_only_from(process: Process, *servers: ReplicatedServer) -> None:
    """Wait until all accounts are read from these, and every one of them is used."""
    wanted = {server.server.port for server in servers}
    while await ports(process) != wanted:  # noqa: ASYNC110 (a poll of what another process does)
        await asyncio.sleep(0.02)


async def test_the_nearest_is_read_from_first(replication: ReplicationSet, dsn: str) -> None:
    east, west = replication.standbys
    places = ("east", "west")
    async with process(replication, dsn, regions=Regions("west", "east", places)) as one:
        await one.until("", "")
        await reads_only_from(one, west)
        west.stop()
        try:
            await reads_only_from(one, east)
        finally:
            west.start()
        await reads_only_from(one, west)


async def test_a_primary_that_is_near_comes_before_replicas_that_are_not(replication: ReplicationSet, dsn: str) -> None:
    async with process(replication, dsn, regions=Regions("north", "north", ("east", "west"))) as one:
        await one.until("", "")
        await reads_only_from(one, replication.primary)


async def test_without_regions_near_all_replicas_are_read_from(replication: ReplicationSet, dsn: str) -> None:
    async with process(replication, dsn, regions=Regions("south", "north", ("east", "west"))) as one:
        await one.until("", "")
        await reads_only_from(one, *replication.standbys)
