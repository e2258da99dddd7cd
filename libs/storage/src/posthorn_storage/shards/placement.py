"""Which shard each account lives on, as the directory has it, remembered for a while.

A memory that is too old does no harm to writes: the rows of an account that moved away refuse them (AccountMoving), and
the writer looks again. Readers may see the state of before the move for as long as `REMEMBERED_SECONDS` where nobody
told them; the old rows stay for longer than that (flows.md F).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from posthorn_model.ids import AccountId
from posthorn_storage.database import Database
from posthorn_storage.recent import Recent

REMEMBERED_SECONDS: Final = 30.0
MAX_REMEMBERED: Final = 200_000

FIND = "SELECT id, shard, epoch FROM account WHERE id = ANY ($1::bigint[])"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an account lives; the epoch counts its moves."""

    shard: int
    epoch: int


class Placements:
    """The placements this process knows. `database` is the home's; `monotonic` gives seconds."""

    def __init__(self, database: Database, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._known = Recent[AccountId, Placement](monotonic, REMEMBERED_SECONDS, MAX_REMEMBERED)

    async def of(self, account: AccountId) -> Placement | None:
        """Where one account lives; None when the directory has no such account. Raises Unavailable."""
        return (await self.of_all([account])).get(account)

    async def of_all(self, accounts: Collection[AccountId]) -> dict[AccountId, Placement]:
        """Where these accounts live, one query for those not remembered; unknown accounts are left out."""
        found = self._known.fresh(accounts)
        if missing := [account for account in accounts if account not in found]:
            mark = self._known.mark
            for row in await self._database.fetch(FIND, missing):
                found[row["id"]] = Placement(row["shard"], row["epoch"])
                self._known.remember(row["id"], found[row["id"]], mark)
        return found

    def forget(self, accounts: Collection[AccountId] | None = None) -> None:
        """Look again next time: for these accounts, or for all."""
        self._known.forget(accounts)
