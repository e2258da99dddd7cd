"""Banned networks: whose clients no node lets in. A table, since what an operator said must outlive any cache.

What leads to a ban, the counts of failures, is in the lookup store. Each change is counted, as every heartbeat sees.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, TypeAlias

from posthorn_model.errors import NotFound, TooMany
from posthorn_storage.database import Connection, Database
from posthorn_storage.nodes import BAN_CHANGES, NOTE_CHANGE

MAX_BANS = 20_000
"""Every process holds all of them."""
MAX_REASON = 200
Network: TypeAlias = IPv4Network | IPv6Network
Source: TypeAlias = Literal["automatic", "operator"]

FORGET = "DELETE FROM ban WHERE until <= now()"

COUNT = "SELECT count(*) FROM ban"

# An automatic ban leaves alone what an operator said.
PUT = """
INSERT INTO ban (network, reason, source, until)
VALUES ($1, $2, $3, now() + make_interval(secs => $4))
ON CONFLICT (network) DO UPDATE SET
    reason = EXCLUDED.reason, source = EXCLUDED.source, since = now(), until = EXCLUDED.until
WHERE EXCLUDED.source = 'operator' OR ban.source = 'automatic'
RETURNING true
"""

REMOVE = "DELETE FROM ban WHERE network = $1 RETURNING true"

ALL = """
SELECT network, reason, source, since, until, extract(epoch FROM until - now())::float8 AS seconds_left
FROM ban WHERE until IS NULL OR until > now() ORDER BY network
"""


@dataclass(frozen=True, slots=True)
class Ban:
    """A network that is banned now; `until` and `seconds_left` None: until the ban is lifted."""

    network: Network
    reason: str
    source: Source
    since: datetime
    until: datetime | None
    seconds_left: float | None
    """By the database's clock, when it was read."""


class BanStore:
    """All methods raise Unavailable, Overloaded. `told` is called with the number of changes after each own one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.told: Callable[[int], None] = lambda _changes: None
        """May not block or raise."""

    async def put(self, network: Network, seconds: float | None, reason: str, source: Source) -> bool:
        """Ban a network for so long, None: until it is lifted; False where an operator has said otherwise.

        Raises TooMany.
        """

        async def work(connection: Connection) -> int | None:
            await connection.execute(FORGET)
            if await connection.fetchval(COUNT) >= MAX_BANS:
                raise TooMany(f"there are {MAX_BANS} bans already")
            if await connection.fetchval(PUT, network, reason[:MAX_REASON], source, seconds) is None:
                return None
            return await _noted(connection)

        return self._tell(await self._database.run(work))

    async def remove(self, network: Network) -> None:
        """Lift the ban of this very network. Raises NotFound."""

        async def work(connection: Connection) -> int | None:
            found = await connection.fetchval(REMOVE, network)
            return await _noted(connection) if found else None

        if not self._tell(await self._database.run(work)):
            raise NotFound(f"{network} is not banned", network=str(network))

    async def all(self) -> Sequence[Ban]:
        """Those in force, by network."""
        return [Ban(**row) for row in await self._database.fetch(ALL)]

    def _tell(self, changes: int | None) -> bool:
        if changes is None:
            return False
        self.told(changes)
        return True


async def _noted(connection: Connection) -> int:
    changes: int = await connection.fetchval(NOTE_CHANGE, BAN_CHANGES)
    return changes
