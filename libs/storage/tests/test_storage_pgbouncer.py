"""Through PgBouncer in transaction mode: servers are shared, nothing leaks between transactions, limits hold.

The contract tests of the stores run through it too, with POSTHORN_TEST_POOLER=pgbouncer (.ci/run).
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from posthorn_model.errors import Overloaded, Unavailable
from posthorn_storage.database import Connection, DatabaseLimits, Pools, PoolSizes
from posthorn_testkit.databases import with_database
from posthorn_testkit.poolers import SERVERS, pgbouncer
from posthorn_testkit.replication import ReplicationSet

pytestmark = pytest.mark.postgres
LIMITS = DatabaseLimits(mode="transaction", statement=50, lock=40, idle=45, acquire=60, connect=60)
SHOWN = ("synchronous_commit", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "jit")
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
ADD = "INSERT INTO domain (name) VALUES ($1)"


@pytest.fixture
def dsn(pooler: str, postgres_dsn: str) -> str:
    return with_database(pooler, urlsplit(postgres_dsn).path[1:])


@pytest_asyncio.fixture
async def pools(dsn: str) -> AsyncIterator[Pools]:
    opened = await Pools.open(dsn, PoolSizes(30), LIMITS)
    yield opened
    await opened.close()


async def test_each_transaction_brings_its_settings(pools: Pools, dsn: str) -> None:
    with pytest.raises(Unavailable) as caught:
        async with pools.interactive.transaction(isolation="repeatable_read", read_only=True) as connection:
            shown = [await connection.fetchval(f"SHOW {name}") for name in (*SHOWN, "transaction_isolation")]
            assert shown == ["on", "50s", "40s", "45s", "off", "repeatable read"]
            await connection.execute(ADD, "example.org")
    assert isinstance(caught.value.__cause__, asyncpg.ReadOnlySQLTransactionError)
    async with pools.maintenance.transaction() as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "2min"
    assert await pools.interactive.fetchval("SHOW synchronous_commit") == "on"
    # A client that brings nothing finds nothing of ours on the servers that it shares with us.
    plain = await asyncpg.connect(dsn, statement_cache_size=0)
    async with plain.transaction():
        assert await plain.fetchval("SHOW statement_timeout") == "0"
    await plain.close()


async def test_many_clients_share_few_servers(pools: Pools) -> None:
    """More connections than servers, each with statements of its own, none of which meets another's."""

    async def unit(number: int) -> tuple[int, int]:
        async def work(connection: Connection) -> int:
            first = await connection.fetchval(f"SELECT $1::int + {number}", number)
            await asyncio.sleep(0)
            return first + await connection.fetchval(f"SELECT {number} * $1::int", 2)

        pid = await pools.delivery.fetchval("SELECT pg_backend_pid()")
        return pid, await pools.interactive.run(work) + await pools.queue.fetchval(f"SELECT {number} - $1::int", number)

    done = await asyncio.gather(*(unit(number) for number in range(300)))
    assert [result for _, result in done] == [4 * number for number in range(300)]
    assert 1 <= len({pid for pid, _ in done}) <= SERVERS


async def test_what_fails_leaves_nothing_behind(pools: Pools, postgres_dsn: str) -> None:
    database = pools.interactive

    async def spoil(number: int) -> None:
        async with database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", number)
            await connection.execute(ADD, f"{number}.example.org")
            if number % 3 == 0:
                await connection.execute("SELECT * FROM nothing")
            elif number % 3 == 1:
                await connection.execute("SELECT pg_sleep(60)")
            raise RuntimeError("in the middle")

    tasks = [asyncio.create_task(spoil(number)) for number in range(12)]
    other = await asyncpg.connect(postgres_dsn)
    while await other.fetchval(SLEEPING) < SERVERS:
        assert not all(task.done() for task in tasks)
    await other.close()
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, BaseException) for outcome in outcomes)
    assert await database.fetchval("SELECT count(*) FROM domain") == 0
    assert await database.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert await asyncio.gather(*(database.fetchval("SELECT 1") for _ in range(100))) == [1] * 100


async def test_time_limits_hold(dsn: str) -> None:
    hasty = await Pools.open(dsn, PoolSizes(3), replace(LIMITS, statement=0.1, attempts=1))
    try:
        with pytest.raises(Overloaded):
            await hasty.interactive.fetchval("SELECT pg_sleep(60)")
    finally:
        await hasty.close()
    pools = await Pools.open(dsn, PoolSizes(3), replace(LIMITS, lock=0.05, attempts=1))
    try:
        async with pools.interactive.transaction() as connection:
            await connection.execute("LOCK TABLE domain")
            with pytest.raises(Overloaded):
                await pools.interactive.execute(ADD, "example.org")
        assert await pools.interactive.execute(ADD, "example.org") == 1
    finally:
        await pools.close()


async def test_a_pooler_before_a_standby_is_refused(replication: ReplicationSet) -> None:
    with pgbouncer(replication.standbys[0].dsn()) as dsn, pytest.raises(Unavailable, match="later"):
        await Pools.open(dsn, PoolSizes(3), LIMITS)
