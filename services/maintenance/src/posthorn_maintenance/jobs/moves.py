"""accounts on their way between shards: moves cut short are undone, what moved accounts left behind goes (flows F).

Whoever moves an account may be a command that has no bus: everybody hears of it from here.
"""

from collections.abc import Callable, Mapping

from posthorn_assembly.notices import ACCOUNT_MOVED
from posthorn_maintenance.jobs.job import Tenure
from posthorn_maintenance.jobs.pieces import Piece
from posthorn_model.events import Control
from posthorn_model.ids import AccountId
from posthorn_storage import Storage


class MoveKeeper:
    """Looks after moves. `publish` tells the cluster."""

    def __init__(self, storage: Storage, publish: Callable[[Control], None]) -> None:
        self._storage = storage
        self._publish = publish
        self._told: set[AccountId] = set()

    def pieces(self, tenure: Tenure) -> Mapping[str, Piece]:
        """Both, done for all accounts by the first share of the role: moves have leases of their own."""
        return {} if tenure.share.part else {"cut-short-moves": self.recover, "moved-accounts": self.clean}

    async def recover(self) -> int:
        """Undo what was cut short, complete and tell what was switched; returns how many were undone."""
        undone = await self._storage.moves.recover()
        switched = {move.account for move in await self._storage.moves.all() if move.step == "switched"}
        for account in switched - self._told:
            self._publish(Control(ACCOUNT_MOVED, {"account": account}))
        self._told = switched
        return undone

    async def clean(self) -> int:
        """Remove what moved accounts left behind; returns of how many."""
        return len(await self._storage.moves.clean())
