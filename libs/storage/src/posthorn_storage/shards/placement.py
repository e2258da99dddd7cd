"""Which shard each account lives on, as the directory has it, remembered for a while.

A memory that is too old does no harm to writes: the rows of an account that moved away refuse them (AccountMoving), and
the writer looks again. Readers may see the state of before the move for as long as `REMEMBERED_SECONDS` where nobody
told them; the old rows stay for longer than that (flows.md F).
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from posthorn_model.ids import AccountId
from posthorn_storage.database import Database

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
        self._monotonic = monotonic
        self._known: OrderedDict[AccountId, tuple[Placement, float]] = OrderedDict()

    async def of(self, account: AccountId) -> Placement | None:
        """Where one account lives; None when the directory has no such account. Raises Unavailable."""
        return (await self.of_all([account])).get(account)

    async def of_all(self, accounts: Collection[AccountId]) -> dict[AccountId, Placement]:
        """Where these accounts live, one query for those not remembered; unknown accounts are left out."""
        now = self._monotonic()
        found: dict[AccountId, Placement] = {}
        missing: list[AccountId] = []
        for account in accounts:
            known = self._known.get(account)
            if known is not None and known[1] > now:
                found[account] = known[0]
            else:
                missing.append(account)
        if missing:
            for row in await self._database.fetch(FIND, missing):
                placement = Placement(row["shard"], row["epoch"])
                found[row["id"]] = placement
                self._remember(row["id"], placement, now + REMEMBERED_SECONDS)
        return found

    def forget(self, accounts: Iterable[AccountId] | None = None) -> None:
        """Look again next time: for these accounts, or for all."""
        if accounts is None:
            self._known.clear()
            return
        for account in accounts:
            self._known.pop(account, None)

    def _remember(self, account: AccountId, placement: Placement, until: float) -> None:
        self._known[account] = (placement, until)
        self._known.move_to_end(account)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
