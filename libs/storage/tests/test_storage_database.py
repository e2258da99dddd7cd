"""The unit of work and the migrations: time limits, clear errors, and nothing half done."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from posthorn_model.errors import Overloaded, Unavailable
from posthorn_storage import FsSettings, Storage, StorageSettings
from posthorn_storage.__main__ import main
from posthorn_storage.database import Connection, Database, DatabaseLimits
from posthorn_storage.migrate import migrate
from posthorn_storage.migrations.compare import differences
from posthorn_testkit.replication import ReplicationSet, replication_set

pytestmark = pytest.mark.postgres
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
ADD = "INSERT INTO domain (name) VALUES ($1)"


async def names(database: Database) -> list[str]:
    return [row["name"] for row in await database.fetch("SELECT name FROM domain ORDER BY name")]


async def test_connections_come_back_to_be_used_again_after_work_of_every_end(postgres_dsn: str) -> None:
    database = await Database.open(postgres_dsn)
    first = await database.fetchval("SELECT pg_backend_pid()")
    async with database.transaction() as connection:
        await connection.execute("SELECT 1")
    with suppress(asyncpg.PostgresError):
        await database.execute("SELECT 1 / 0")
    with suppress(RuntimeError):
        async with database.transaction():
            raise RuntimeError
    assert await database.fetchval("SELECT pg_backend_pid()") == first
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await database.fetchval("SELECT pg_sleep(30)")
    assert database.load().in_use == 0
    assert await database.fetchval("SELECT 1") == 1
    await database.close()


async def test_migrations_and_tables_agree(bare_postgres_dsn: str) -> None:
    await asyncio.gather(*(migrate(bare_postgres_dsn) for _ in range(4)))
    await migrate(bare_postgres_dsn)
    assert await differences(bare_postgres_dsn) == []


def test_the_developers_command_migrates(bare_postgres_dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", bare_postgres_dsn]) == 0
    assert asyncio.run(differences(bare_postgres_dsn)) == []
    assert main(["migrate", "postgresql://nobody:hunter2@127.0.0.1:1/x"]) == 1
    told = capsys.readouterr().err
    assert "try again later" in told
    assert "hunter2" not in told


async def test_a_database_without_schema_is_refused(bare_postgres_dsn: str, tmp_path: Path) -> None:
    settings = StorageSettings(dsn=bare_postgres_dsn, blobs=FsSettings(tmp_path))
    with pytest.raises(Unavailable, match="no schema"):
        await Storage.open(settings)
    await migrate(bare_postgres_dsn)
    opened = await Storage.open(settings)
    await opened._database.execute("UPDATE alembic_version SET version_num = '9999'")
    await opened.close()
    newer = await Storage.open(settings)
    assert "PostgreSQL" in await newer.probe_database()
    await newer.close()


@pytest.mark.parametrize("dsn", ["postgresql://127.0.0.1:1/x", "postgresql://nowhere.invalid/x"])
async def test_a_server_that_is_down_is_unavailable(dsn: str) -> None:
    with pytest.raises(Unavailable):
        await Database.open(dsn)
    with pytest.raises(Unavailable):
        await migrate(dsn)


async def test_wrong_credentials_are_unavailable_and_not_shown(postgres_dsn: str) -> None:
    wrong = "postgresql://nobody:hunter2@" + postgres_dsn.rpartition("@")[2]
    with pytest.raises(Unavailable) as caught:
        await Database.open(wrong)
    assert "hunter2" not in repr(caught.value.fields)
    assert "hunter2" not in repr(StorageSettings(dsn=wrong, blobs=FsSettings(Path("/"))))


async def test_an_exhausted_pool_refuses(postgres_dsn: str) -> None:
    database = await Database.open(postgres_dsn, DatabaseLimits(pool_size=1, acquire=0.05, waiting=1))
    try:
        async with database.connection():
            with pytest.raises(Overloaded):
                await database.fetchval("SELECT 1")
            results = await asyncio.gather(*(database.fetchval("SELECT 1") for _ in range(5)), return_exceptions=True)
            assert all(isinstance(result, Overloaded) for result in results)
        assert await database.fetchval("SELECT 1") == 1
    finally:
        await database.close()


async def test_statements_and_locks_have_time_limits(postgres_dsn: str) -> None:
    hasty = await Database.open(postgres_dsn, DatabaseLimits(statement=0.1, attempts=2))
    try:
        with pytest.raises(Overloaded):
            await hasty.fetchval("SELECT pg_sleep(60)")
    finally:
        await hasty.close()
    database = await Database.open(postgres_dsn, DatabaseLimits(lock=0.05, attempts=2))
    try:
        async with database.transaction() as connection:
            await connection.execute("LOCK TABLE domain")
            with pytest.raises(Overloaded):
                await database.execute(ADD, "example.org")
        assert await database.fetchval("SHOW synchronous_commit") == "on"
    finally:
        await database.close()


async def test_a_cancelled_unit_of_work_leaves_nothing(storage: Storage) -> None:
    inside = asyncio.Event()

    async def work(connection: Connection) -> None:
        await connection.execute(ADD, "example.org")
        inside.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(storage._database.run(work))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names(storage._database) == []


async def test_a_unit_of_work_cancelled_in_a_statement_frees_its_connection(postgres_dsn: str) -> None:
    database = await Database.open(postgres_dsn, DatabaseLimits(pool_size=1))
    try:
        task = asyncio.create_task(database.fetchval("SELECT pg_sleep(600)"))
        other = await asyncpg.connect(postgres_dsn)
        while not await other.fetchval(SLEEPING):
            assert not task.done()
        await other.close()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await database.fetchval("SELECT 1") == 1
    finally:
        await database.close()


async def test_deadlocks_are_tried_again(storage: Storage) -> None:
    database = storage._database
    await database.execute("INSERT INTO domain (name) VALUES ('a.org'), ('b.org')")
    first_locks = asyncio.Barrier(2)
    tries: list[str] = []

    async def unit(first: str, second: str) -> None:
        async def work(connection: Connection) -> None:
            update = "UPDATE domain SET created_at = now() WHERE name = $1"
            await connection.execute(update, first)
            tries.append(first)
            if len(tries) <= 2:
                await first_locks.wait()
            await connection.execute(update, second)

        await database.run(work)

    await asyncio.gather(unit("a.org", "b.org"), unit("b.org", "a.org"))
    assert len(tries) == 3


async def test_faults_of_a_statement_are_not_called_outages(storage: Storage) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await storage._database.fetch("SELECT * FROM nothing")
    with pytest.raises(asyncpg.DataError):
        await storage._database.fetch("SELECT $1::int", "text")
    await storage._database.execute(ADD, "example.org")
    with pytest.raises(asyncpg.UniqueViolationError):
        await storage._database.execute(ADD, "example.org")


async def test_killed_connections_heal(storage: Storage) -> None:
    database = storage._database
    with pytest.raises(Unavailable):
        async with database.transaction() as connection:
            await connection.execute(ADD, "example.org")
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            await database.fetchval("SELECT pg_terminate_backend($1)", pid)
            await connection.execute(ADD, "example.com")
    assert await names(database) == []


async def test_a_connection_comes_back_clean(postgres_dsn: str) -> None:
    """Between two uses nothing is sent, and yet nothing of one use is seen by the next."""
    database = await Database.open(postgres_dsn, DatabaseLimits(pool_size=1))
    try:
        with pytest.raises(RuntimeError, match="in the middle"):
            async with database.transaction() as connection:
                await connection.execute("SET LOCAL statement_timeout = '1s'")
                await connection.execute("SELECT pg_advisory_xact_lock(7)")
                await connection.execute("CREATE TABLE half_done (n int)")
                raise RuntimeError("in the middle")
        assert await database.fetchval("SHOW statement_timeout") == "30s"
        assert await database.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        assert await database.fetchval("SELECT to_regclass('half_done')") is None
        assert await database.fetchval("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'") == 0
    finally:
        await database.close()


async def test_a_server_that_takes_no_writes_is_unavailable(replication: ReplicationSet) -> None:
    with pytest.raises(Unavailable):
        await Database.open(replication.standbys[0].dsn())


async def test_a_server_without_room_is_overloaded_and_heals(postgres_dsn: str) -> None:
    keeper = await asyncpg.connect(postgres_dsn)
    role = f"crowded_{os.getpid()}"
    await keeper.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x' CONNECTION LIMIT 2")
    try:
        parts = urlsplit(postgres_dsn)
        netloc = f"{role}:x@{parts.netloc.rpartition('@')[2]}"
        database = await Database.open(parts._replace(netloc=netloc).geturl(), DatabaseLimits(pool_size=5))
        try:
            async with database.connection(), database.connection():
                with pytest.raises(Overloaded):
                    await database.fetchval("SELECT 1")
            assert await asyncio.gather(database.fetchval("SELECT 1"), database.fetchval("SELECT 2")) == [1, 2]
        finally:
            await database.close()
    finally:
        await keeper.execute(f"DROP ROLE {role}")
        await keeper.close()


async def test_work_that_cannot_be_serialized_is_done_again(storage: Storage) -> None:
    database = storage._database
    await database.execute("CREATE TABLE counter (n int)")
    await database.execute("INSERT INTO counter VALUES (0)")
    both_read = asyncio.Barrier(2)
    tries: list[int] = []

    async def work(connection: Connection) -> None:
        found = await connection.fetchval("SELECT n FROM counter")
        tries.append(found)
        if len(tries) <= 2:
            await both_read.wait()
        await connection.execute("UPDATE counter SET n = $1", found + 1)

    await asyncio.gather(
        *(database.run(work, lambda: database.transaction(isolation="serializable")) for _ in range(2))
    )
    assert tries == [0, 0, 1]
    assert await database.fetchval("SELECT n FROM counter") == 2
    await database.execute("DROP TABLE counter")


async def test_cancelled_at_any_moment_the_pool_stays_whole(postgres_dsn: str) -> None:
    """Hundreds of units of work, each cancelled after another number of steps of the loop."""
    database = await Database.open(postgres_dsn, DatabaseLimits(pool_size=4))
    kept: list[str] = []

    async def unit(name: str) -> None:
        async with database.transaction() as connection:
            await connection.execute(ADD, name)
            await connection.fetchval("SELECT pg_sleep(0.001)")
            await connection.execute("UPDATE domain SET created_at = now() WHERE name = $1", name)
        kept.append(name)

    async def cancelled(number: int) -> None:
        task = asyncio.create_task(unit(f"{number}.example.org"))
        for _ in range(number % 40):
            await asyncio.sleep(0)
        await asyncio.sleep(0.0001 * (number % 60))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    try:
        for first in range(0, 400, 8):
            await asyncio.gather(*(cancelled(number) for number in range(first, first + 8)))
        # A commit that was cancelled while it was under way may have happened; nothing is there in part.
        assert set(kept) <= set(await names(database))
        assert await asyncio.gather(*(database.fetchval("SELECT pg_sleep(0.01)::text") for _ in range(40))) == [""] * 40
        assert database.load().in_use == database.load().waiting == 0
        assert await database.fetchval("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'") == 0
    finally:
        await database.close()


async def test_a_server_that_is_killed_in_the_middle() -> None:
    with replication_set(0) as servers:
        database = await Database.open(servers.primary.dsn(), DatabaseLimits(pool_size=4))
        try:
            await database.execute("CREATE TABLE kept (n int)")

            async def unit(number: int) -> None:
                async with database.transaction() as connection:
                    await connection.execute("INSERT INTO kept VALUES ($1)", number)
                    await connection.execute("SELECT pg_sleep(600)")

            tasks = [asyncio.create_task(unit(number)) for number in range(3)]
            while await database.fetchval(SLEEPING) < 3:
                assert not any(task.done() for task in tasks)
            servers.primary.kill()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
            with pytest.raises(Unavailable):
                await database.probe()
            servers.primary.start()
            assert (
                await asyncio.gather(*(database.fetchval("SELECT count(*) FROM kept") for _ in range(20))) == [0] * 20
            )
        finally:
            await database.close()
