"""Units of work that follow each other on one connection: each is whole, and nothing of the connection is lost."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from posthorn_model.errors import Unavailable
from posthorn_storage.database import Connection, Database, DatabaseLimits
from posthorn_storage.database import succession as succession_module
from posthorn_storage.database.database import lost
from posthorn_storage.database.succession import SPARE_SECONDS, Succession, Unit

pytestmark = pytest.mark.postgres
BEGUN = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
ADD = "INSERT INTO done VALUES ($1)"


@pytest_asyncio.fixture
async def database(bare_postgres_dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(bare_postgres_dsn, DatabaseLimits(pool_size=4))
    await opened.execute("CREATE TABLE done (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    yield opened
    await opened.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun ahead waits for as long as the test takes."""
    monkeypatch.setattr(succession_module, "SPARE_SECONDS", 600.0)


@pytest_asyncio.fixture
async def looker(bare_postgres_dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Another session, which sees what is committed."""
    connection = await asyncpg.connect(bare_postgres_dsn)
    yield connection
    await connection.close()


async def done(looker: "asyncpg.Connection[asyncpg.Record]") -> list[int]:
    return [row["n"] for row in await looker.fetch("SELECT n FROM done ORDER BY n")]


async def add(succession: Succession, *numbers: int) -> tuple[int, int]:
    """Add them in one unit of work; which server did it, and when its transaction began."""

    async def work(connection: Connection) -> tuple[int, int]:
        for number in numbers:
            await connection.execute(ADD, number)
        return tuple(await connection.fetchrow("SELECT pg_backend_pid(), (extract(epoch FROM now()) * 1e6)::bigint"))

    return await succession.run(work)


async def test_closing_waits_for_everything_that_was_begun_for_nobody(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, ended = asyncio.Event(), succession_module._ended
    waiting: list[Unit] = []

    async def end_when_told(unit: Unit) -> None:
        waiting.append(unit)
        if len(waiting) == 1:
            await may_end.wait()
        await ended(unit)

    monkeypatch.setattr(succession_module, "_ended", end_when_told)
    succession = Succession(database, lambda: True)
    async with asyncio.timeout(60):
        for number in (1, 2):
            await add(succession, number)
            while len(waiting) < number:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(SPARE_SECONDS / 2)
        closing = asyncio.create_task(succession.close())
        assert (await asyncio.wait([closing], timeout=0.2))[1] == {closing}
        may_end.set()
        await closing
    assert database.load().in_use == 0


@pytest.mark.usefixtures("patient")
async def test_each_is_committed_at_its_end_and_the_next_has_begun(
    database: Database, looker: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    succession = Succession(database, lambda: True)
    servers: list[int] = []
    begun: list[int] = []
    for number in range(4):
        server, time = await add(succession, number)
        servers.append(server)
        begun.append(time)
        assert await done(looker) == list(range(number + 1))
        assert await looker.fetchval(BEGUN) == 1
    assert len(set(servers)) == 1
    assert sorted(set(begun)) == begun
    await succession.close()
    assert await looker.fetchval(BEGUN) == 0
    assert database.load().in_use == 0


async def test_where_nobody_is_expected_the_connection_is_given_back(
    database: Database, looker: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    succession = Succession(database, lambda: False)
    await add(succession, 1)
    assert database.load().in_use == 0
    assert await looker.fetchval(BEGUN) == 0
    await succession.close()


async def test_what_was_begun_for_nobody_ends_by_itself(
    database: Database, looker: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    succession = Succession(database, lambda: True)
    await add(succession, 1)
    async with asyncio.timeout(60):
        while database.load().in_use or await looker.fetchval(BEGUN):  # noqa: ASYNC110 (what other sessions see)
            await asyncio.sleep(SPARE_SECONDS / 2)
    await add(succession, 2)
    await succession.close()
    assert await done(looker) == [1, 2]


@pytest.mark.usefixtures("patient")
async def test_one_that_fails_takes_nothing_of_the_others_along(
    database: Database, looker: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    succession = Succession(database, lambda: True)
    await add(succession, 1)

    async def work(connection: Connection) -> None:
        await connection.execute(ADD, 2)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await succession.run(work)
    assert database.load().in_use == 0
    await add(succession, 3)
    with pytest.raises(asyncpg.UniqueViolationError):  # deferred: it is the commit that fails
        await add(succession, 4, 4)
    assert database.load().in_use == 0
    await add(succession, 5)
    await succession.close()
    assert await done(looker) == [1, 3, 5]


async def test_a_server_that_dies_is_lost_to_what_it_did_alone(
    database: Database, looker: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    succession = Succession(database, lambda: True)
    server, _ = await add(succession, 1)
    await looker.execute("SELECT pg_terminate_backend($1, 5000)", server)
    try:
        await add(succession, 2)
    except Unavailable:  # the loop had not heard yet that the connection was closed
        assert await done(looker) == [1]
        await add(succession, 2)
    await succession.close()
    assert await done(looker) == [1, 2]
    assert database.load().in_use == 0

    async def die(connection: Connection) -> None:
        await connection.execute(ADD, 3)
        server = await connection.fetchval("SELECT pg_backend_pid()")
        await looker.execute("SELECT pg_terminate_backend($1, 5000)", server)

    with pytest.raises(Unavailable):
        await succession.run(die)
    await succession.close()
    assert await done(looker) == [1, 2]
    assert database.load().in_use == 0


@pytest.mark.usefixtures("patient")
async def test_a_connection_that_is_known_to_be_lost_is_used_no_more(
    database: Database, looker: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    succession = Succession(database, lambda: True)
    for number in range(3):
        server, _ = await add(succession, number)
        ahead = succession._ahead
        assert ahead is not None
        await looker.execute("SELECT pg_terminate_backend($1, 5000)", server)
        async with asyncio.timeout(30):
            while not lost(ahead[1]):  # noqa: ASYNC110 (the loop itself is to hear of it)
                await asyncio.sleep(0.001)
    await succession.close()
    assert await done(looker) == [0, 1, 2]
    assert database.load().in_use == 0


@pytest.mark.usefixtures("patient")
async def test_side_by_side_each_has_a_connection_of_its_own(
    database: Database, looker: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    succession = Succession(database, lambda: True)
    together = asyncio.Barrier(3)

    async def work(connection: Connection) -> int:
        await together.wait()
        return int(await connection.fetchval("SELECT pg_backend_pid()"))

    for _ in range(20):
        assert len(set(await asyncio.gather(*(succession.run(work) for _ in range(3))))) == 3
        assert database.load().in_use == 1
    await succession.close()
    assert database.load().in_use == 0


async def test_cancelled_at_any_moment_everything_comes_back(
    database: Database, looker: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    succession = Succession(database, lambda: True)
    finished: list[int] = []
    for number in range(1000):
        if number >= 200 and finished:
            break
        task = asyncio.create_task(add(succession, number))
        for _ in range(number % 20):
            await asyncio.sleep(0)
        # Where none was done in that time, there is more of it.
        await asyncio.sleep(0.0001 * (number % 40) * 4 ** (number // 200))
        task.cancel()
        if not isinstance((await asyncio.gather(task, return_exceptions=True))[0], BaseException):
            finished.append(number)
    await add(succession, 1000)
    await succession.close()
    assert database.load().in_use == 0
    assert await looker.fetchval(BEGUN) == 0
    assert finished
    assert {*finished, 1000} <= set(await done(looker))
