"""Classes of work: what is kept for each, what they lend each other, and who is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from posthorn_model.errors import Overloaded
from posthorn_storage.database import WORK, Database, DatabaseLimits, Pools, PoolSizes
from posthorn_storage.database.admission import Admission
from posthorn_storage.database.limits import SHARING, Share

LIMITS = DatabaseLimits(acquire=0.1, waiting=3, connect=60.0)


async def hold(database: Database, count: int, stack: AsyncExitStack) -> None:
    for _ in range(count):
        await stack.enter_async_context(database.connection())


@pytest_asyncio.fixture
async def pools(postgres_dsn: str) -> AsyncIterator[Pools]:
    opened = await Pools.open(postgres_dsn, PoolSizes(total=10), LIMITS)
    yield opened
    await opened.close()


@given(
    st.integers(1, 1000),
    st.lists(st.none() | st.integers(1, 1000), min_size=4, max_size=4),
)
def test_shares_always_fit_in_the_total(total: int, given_sizes: list[int | None]) -> None:
    sizes = PoolSizes(total, *given_sizes)
    shared = total - sizes.own()
    shares = sizes.shares()
    assert shared >= 1
    assert sum(share.least for share in shares.values()) <= shared
    assert all(max(1, share.least) <= share.most <= shared for share in shares.values())


@pytest.mark.postgres
async def test_a_burst_leaves_the_other_classes_what_is_kept_for_them(pools: Pools) -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(Overloaded):
            await hold(pools.interactive, 10, stack)
        assert pools.load()["interactive"].in_use == 7
        for other in (pools.delivery, pools.queue, pools.maintenance):
            assert await other.fetchval("SELECT 1") == 1
        assert pools.load()["interactive"].refused == 1
        assert pools.opened <= 10
    assert [load.in_use for load in pools.load().values()] == [0] * len(WORK)


@pytest.mark.postgres
async def test_who_waits_gets_the_next_connection_in_turn(postgres_dsn: str) -> None:
    order: list[int] = []
    pools = await Pools.open(postgres_dsn, PoolSizes(total=10), replace(LIMITS, acquire=60.0))

    async def ask(number: int) -> None:
        async with pools.maintenance.connection():
            order.append(number)

    async with AsyncExitStack() as stack:
        await hold(pools.maintenance, 1, stack)
        waiting = [asyncio.create_task(ask(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert pools.load()["maintenance"].waiting == 3
        with pytest.raises(Overloaded):
            await pools.maintenance.fetchval("SELECT 1")
        waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await pools.close()
    assert order == [0, 2]


@pytest.mark.postgres
@pytest.mark.parametrize("total", [1, 2, 3, 4, 5])
async def test_a_small_process_does_everything_with_few_connections(postgres_dsn: str, total: int) -> None:
    pools = await Pools.open(postgres_dsn, PoolSizes(total), DatabaseLimits(acquire=60.0, connect=60.0))
    try:
        databases = [getattr(pools, work) for work in WORK]
        answers = await asyncio.gather(*(one.fetchval("SELECT 1") for one in databases * 20))
        assert answers == [1] * 80
        assert pools.opened <= total
    finally:
        await pools.close()


@pytest.mark.postgres
async def test_maintenance_has_time(pools: Pools) -> None:
    assert await pools.interactive.fetchval("SHOW statement_timeout") == "30s"
    assert await pools.maintenance.fetchval("SHOW statement_timeout") == "2min"


async def test_whoever_leaves_in_whatever_way_frees_the_place() -> None:
    """Many tasks that enter, wait, are refused and are cancelled: in the end every place is free, and none too many."""
    admission = Admission(5, {work: Share(1, 4) for work in SHARING}, waiting=10)
    inside = dict.fromkeys(SHARING, 0)
    most = 0

    async def visit(work: str, number: int) -> None:
        nonlocal most
        await admission.enter(work, 0.001 * (number % 7))
        inside[work] += 1
        most = max(most, sum(inside.values()))
        try:
            assert inside[work] <= 4
            for _ in range(number % 5):
                await asyncio.sleep(0)
        finally:
            inside[work] -= 1
            admission.leave(work)

    for round_ in range(50):
        tasks = [asyncio.create_task(visit(SHARING[n % 3], n + round_)) for n in range(40)]
        for n, task in enumerate(tasks):
            if n % 4 == round_ % 4:
                await asyncio.sleep(0)
                task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, Overloaded | asyncio.CancelledError)
        assert [admission.load(work).in_use + admission.load(work).waiting for work in SHARING] == [0, 0, 0]
    assert most == 5
