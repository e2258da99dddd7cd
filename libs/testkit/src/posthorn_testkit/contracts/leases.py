"""The contract of the LeaseStore port and of writes under a lease, for the real table and for its double.

A test module subclasses LeaseContract and gives it a fixture `trial`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from posthorn_model.ids import Epoch
from posthorn_model.ports import LeaseStore

LONG = 3600.0


@dataclass(frozen=True, slots=True)
class LeaseTrial:
    """A lease store, and what only its maker can do."""

    leases: LeaseStore
    expire: Callable[[str], Awaitable[None]]
    """Make a lease run out as if its time had passed."""
    write: Callable[[str, Epoch], Awaitable[bool]]
    """Write something under a lease; whether it counted."""


class LeaseContract:
    """What every lease table must do."""

    async def test_of_many_only_one_gets_a_lease(self, trial: LeaseTrial) -> None:
        leases = trial.leases
        results = await asyncio.gather(*(leases.acquire(["roles/purge"], f"p{n}", LONG) for n in range(12)))
        assert sum(len(result) for result in results) == 1
        owner, epoch, seconds = (await leases.holders("roles/"))["roles/purge"]
        assert results[int(owner[1:])] == {"roles/purge": epoch}
        assert epoch == 1
        assert LONG / 2 < seconds <= LONG

    async def test_many_keys_are_shared_out_without_overlap(self, trial: LeaseTrial) -> None:
        keys = [f"queue/{n}" for n in range(16)]
        results = await asyncio.gather(
            *(trial.leases.acquire(keys if n % 2 else keys[::-1], f"p{n}", LONG) for n in range(8))
        )
        assert sorted(key for result in results for key in result) == sorted(keys)

    async def test_epochs_count_owners(self, trial: LeaseTrial) -> None:
        leases = trial.leases
        assert await leases.acquire(["k"], "a", LONG) == {"k": 1}
        # Whoever asks does not have it: what was done under the epoch before is over, though the table does not know.
        assert await leases.acquire(["k"], "a", LONG) == {"k": 2}
        assert await leases.renew({"k": Epoch(1)}, "a", LONG) == frozenset()
        assert await leases.acquire(["k"], "b", LONG) == {}
        await trial.expire("k")
        assert (await leases.holders("k"))["k"] == ("a", 2, 0.0)
        assert await leases.acquire(["k"], "b", LONG) == {"k": 3}
        assert await leases.renew({"k": Epoch(2)}, "a", LONG) == frozenset()
        await leases.release({"k": Epoch(2)}, "a")
        assert await leases.renew({"k": Epoch(3)}, "b", LONG) == frozenset({"k"})
        await leases.release({"k": Epoch(3)}, "b")
        assert await leases.acquire(["k"], "a", LONG) == {"k": 4}
        assert await leases.renew({}, "a", LONG) == frozenset()
        await trial.expire("k")
        assert await leases.acquire(["k"], "a", LONG) == {"k": 5}

    async def test_a_lease_that_ran_out_untaken_is_extended(self, trial: LeaseTrial) -> None:
        await trial.leases.acquire(["k"], "a", LONG)
        await trial.expire("k")
        assert await trial.leases.renew({"k": Epoch(1)}, "a", LONG) == frozenset({"k"})
        assert (await trial.leases.holders("k"))["k"][2] > 0
        assert await trial.leases.renew({"k": Epoch(1), "other": Epoch(1)}, "b", LONG) == frozenset()

    async def test_a_prefix_is_no_pattern(self, trial: LeaseTrial) -> None:
        await trial.leases.acquire(["a_b/1", "axb/1"], "p", LONG)
        assert list(await trial.leases.holders("a_b/")) == ["a_b/1"]

    async def test_a_write_counts_under_the_newest_epoch_only(self, trial: LeaseTrial) -> None:
        leases = trial.leases
        assert not await trial.write("k", Epoch(1))
        await leases.acquire(["k"], "a", LONG)
        assert await trial.write("k", Epoch(1))
        assert not await trial.write("k", Epoch(2))
        await trial.expire("k")
        # Nobody else can have written meanwhile.
        assert await trial.write("k", Epoch(1))
        await leases.acquire(["k"], "b", LONG)
        assert not await trial.write("k", Epoch(1))
        assert await trial.write("k", Epoch(2))
        await leases.release({"k": Epoch(2)}, "b")
        assert await trial.write("k", Epoch(2))
        await leases.acquire(["k"], "a", LONG)
        assert not await trial.write("k", Epoch(2))
