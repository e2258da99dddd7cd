"""Where steps of upkeep work: a database with the stores of its blobs."""

from dataclasses import dataclass

from posthorn_storage.blobs.stores import Stores
from posthorn_storage.database import Database
from posthorn_storage.leases import Fence


@dataclass(frozen=True, slots=True)
class Place:
    """One database with blobs."""

    database: Database
    stores: Stores
    home: bool = True
    """Whether leases are in this database."""

    async def plant(self, fence: Fence) -> None:
        """Make the fence one that can be held in this database. Raises Unavailable."""
        if not self.home:
            await self.database.run(fence.hold_away)
