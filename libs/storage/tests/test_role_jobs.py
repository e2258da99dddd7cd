"""Jobs of roles on the real database: their rounds, cursors and epochs."""

import pytest

from posthorn_model.errors import LeaseLost
from posthorn_model.ids import Epoch
from posthorn_storage import Fence, Storage
from posthorn_storage.role_jobs import JobShare

pytestmark = pytest.mark.postgres
KEY = "role/purge.stores"
HOUR = 3600.0


async def held(storage: Storage, owner: str = "a", share: int = 0, shares: int = 1) -> JobShare:
    await storage._database.execute("UPDATE lease SET until = now() WHERE key = $1", KEY)
    epoch = (await storage.leases.acquire([KEY], owner, HOUR))[KEY]
    return JobShare(Fence(KEY, epoch), "purge.stores", "purge", share, shares)


async def test_a_round_is_due_when_its_interval_has_passed(storage: Storage) -> None:
    jobs, job = storage.role_jobs, await held(storage)
    assert await jobs.begin(job, HOUR) == ("", 0.0)
    assert await jobs.begin(job, HOUR) == ("", 0.0), "one that is under way goes on"
    await jobs.advance(job, "", 3)
    cursor, seconds = await jobs.begin(job, HOUR)
    assert cursor is None
    assert HOUR - 60 < seconds <= HOUR
    await storage._database.execute("UPDATE role_job SET started_at = started_at + interval '1 day'")
    assert await jobs.begin(job, HOUR) == ("", 0.0), "a clock that was set back holds up nobody"


async def test_another_number_of_shares_begins_anew(storage: Storage) -> None:
    jobs, job = storage.role_jobs, await held(storage, shares=2)
    await jobs.begin(job, HOUR)
    await jobs.advance(job, "half way", 3)
    assert await jobs.begin(await held(storage, "b", shares=2), HOUR) == ("half way", 0.0)
    assert await jobs.begin(await held(storage, "c", shares=3), HOUR) == ("", 0.0)
    (state,) = await jobs.all()
    assert (state.shares, state.worked) == (3, 0)


async def test_an_owner_of_the_past_changes_nothing(storage: Storage) -> None:
    jobs, old = storage.role_jobs, await held(storage)
    await jobs.begin(old, HOUR)
    new = await held(storage, "b")
    for write in (
        lambda: jobs.begin(old, HOUR),
        lambda: jobs.advance(old, "late", 1),
        lambda: jobs.fail(old, "late"),
    ):
        with pytest.raises(LeaseLost):
            await write()
    (state,) = await jobs.all()
    assert (state.cursor, state.problem, state.epoch) == ("", None, old.fence.epoch)
    await jobs.begin(new, HOUR)
    assert (await jobs.all())[0].epoch == new.fence.epoch


async def test_problems_are_kept_and_cut_to_size(storage: Storage) -> None:
    jobs, job = storage.role_jobs, await held(storage)
    await jobs.begin(job, HOUR)
    assert [await jobs.fail(job, "x\0" * 1000) for _ in range(2)] == [1, 2]
    await jobs.advance(job, "b", 1)
    (state,) = await jobs.all()
    assert (state.failures, state.problem) == (0, "x" * 500)
    with pytest.raises(ValueError, match="longer than"):
        await jobs.advance(job, "c" * 1001, 1)


async def test_on_another_database_an_owner_of_the_past_removes_nothing(sharded: Storage) -> None:
    """The lease is at home; the transaction that removes elsewhere holds the epoch there."""
    east = sharded.shards.named("east").database
    old, new = Fence(KEY, Epoch(4)), Fence(KEY, Epoch(5))
    for key in (b"d1", b"d2"):
        await east.execute(
            "INSERT INTO delivery_seen (account_id, key, message_id, at) VALUES (1, $1, 1, now() - interval '9 days')",
            key,
        )
    assert await sharded.purge.purge_dedupe(1, fence=old, on=1) == 1
    assert await sharded.purge.purge_dedupe(1, fence=old, on=0) == 0
    assert await sharded.purge.purge_uploads(1, fence=new, on=1) == 0
    assert await sharded.purge.purge_dedupe(1, fence=old, on=1) == 0
    assert await sharded.purge.purge_dedupe(1, fence=new, on=1) == 1


async def test_away_from_home_an_epoch_only_grows(storage: Storage) -> None:
    """Where leases are not, the row of who worked there last refuses everybody before."""

    async def hold(epoch: int) -> bool:
        return await storage._database.run(Fence("role/far", Epoch(epoch)).hold_away)

    assert [await hold(epoch) for epoch in (3, 3, 2, 5, 3, 5)] == [True, True, False, True, False, True]
