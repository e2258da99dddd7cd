"""Removing accounts wherever they live: the directory's row first, then in bounded steps all they held."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from posthorn_model.errors import AccountNotFound
from posthorn_model.events import Changed
from posthorn_model.ids import AccountId
from posthorn_storage.leases import Fence
from posthorn_storage.removal import Removal
from posthorn_storage.shards.shard import Shard
from posthorn_storage.shards.shards import Shards

STEP_ROWS: Final = 5000

# Nobody finds the account from here on, and what it held is on the list of what is to go.
CLOSE = """
WITH closed AS (DELETE FROM account WHERE id = $1 RETURNING id, shard), noted AS (
    INSERT INTO removed_account (account_id, shard) SELECT id, shard FROM closed ON CONFLICT DO NOTHING
)
SELECT shard FROM closed
"""

NEXT = """
SELECT account_id, shard FROM removed_account WHERE mod(account_id, $1::int) = $2::int ORDER BY at LIMIT 1
"""

DONE = "DELETE FROM removed_account WHERE account_id = $1"


class Removals:
    """See the module. `notify` hears of a reset after its commit."""

    def __init__(self, shards: Shards, notify: Callable[[Changed], None]) -> None:
        self._shards = shards
        self._home = shards.home.database
        self._notify = notify

    async def reset(self, account: AccountId) -> None:
        """Empty the account in one transaction. Raises AccountNotFound."""

        async def work() -> None:
            await self._on(await self._shards.of(account)).reset(account)

        await self._shards.follow([account], work)

    async def remove(self, account: AccountId) -> None:
        """Close the account (nobody finds it from then on), then remove all it held.

        A process killed in between leaves the rest to `step`. Raises AccountNotFound.
        """
        number = await self._home.fetchval(CLOSE, account)
        if number is None:
            raise AccountNotFound(account=account)
        while await self._step(account, self._shards.numbered(number), STEP_ROWS):
            pass

    async def step(self, limit: int, *, fence: Fence | None = None, part: int = 0, parts: int = 1) -> int:
        """Remove at most `limit` rows of an account that was closed; returns how many went, 0 when none are left.

        Only accounts whose number leaves `part` when divided by `parts`; nothing when the lease has another epoch.
        """
        row = await self._home.fetchrow(NEXT, parts, part)
        if row is None or (fence is not None and not await self._home.run(fence.hold)):
            return 0
        return await self._step(row["account_id"], self._shards.numbered(row["shard"]), limit, fence)

    async def clear(self, made: Mapping[Shard, Sequence[AccountId]]) -> None:
        """Remove what was made on shards for accounts that did not come to exist."""
        for shard, accounts in made.items():
            removal = self._on(shard)
            for account in accounts:
                await removal.close(account)
                while await removal.step(account, STEP_ROWS):
                    pass

    async def _step(self, account: AccountId, shard: Shard, limit: int, fence: Fence | None = None) -> int:
        removal = self._on(shard)
        await removal.close(account)
        hold = None if fence is None else fence.hold if shard.is_home else fence.hold_away
        gone = await removal.step(account, limit, hold)
        if gone is None:
            return 0
        return gone or await self._home.execute(DONE, account)

    def _on(self, shard: Shard) -> Removal:
        return Removal(shard.units, shard.pools.telling(self._notify))
