"""Leases: compare-and-set rows that alone decide who owns a key (design law 5, flows.md D).

Expiry is judged by the database's clock, in the statement that changes the row. This module neither proposes owners nor
counts local deadlines.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from posthorn_model.ids import Epoch
from posthorn_storage.database import Connection, Database

ACQUIRE = """
INSERT INTO lease AS held (key, owner, epoch, until)
SELECT key, $2, 1, now() + make_interval(secs => $3) FROM unnest($1::text[]) AS wanted (key) ORDER BY key
ON CONFLICT (key) DO UPDATE SET
    owner = EXCLUDED.owner,
    until = EXCLUDED.until,
    epoch = held.epoch + 1
WHERE held.until <= now() OR held.owner = EXCLUDED.owner
RETURNING key, epoch
"""

# Leases are locked in the order of their keys, here as by everybody who locks several.
RENEW = """
WITH held AS MATERIALIZED (
    SELECT l.key FROM lease l JOIN unnest($1::text[], $2::bigint[]) AS mine (key, epoch) USING (key, epoch)
    WHERE l.owner = $3 ORDER BY l.key FOR NO KEY UPDATE OF l
)
UPDATE lease SET until = now() + make_interval(secs => $4) FROM held WHERE lease.key = held.key RETURNING lease.key
"""

RELEASE = """
WITH held AS MATERIALIZED (
    SELECT l.key FROM lease l JOIN unnest($1::text[], $2::bigint[]) AS mine (key, epoch) USING (key, epoch)
    WHERE l.owner = $3 AND l.until > now() ORDER BY l.key FOR NO KEY UPDATE OF l
)
UPDATE lease SET until = now() FROM held WHERE lease.key = held.key
"""

HOLDERS = """
SELECT key, owner, epoch, greatest(extract(epoch FROM until - now())::float8, 0) AS seconds
FROM lease WHERE starts_with(key, $1) ORDER BY key
"""

# A process that is paused, or cut off, in the middle of a transaction would keep its leases from everybody else. While
# it holds the row nobody can renew the lease either, so that its end is known.
_LEFT = "least(3000, greatest(500, extract(epoch FROM until - clock_timestamp()) * 1000))::int::text"
STANDING = f"""set_config('idle_in_transaction_session_timeout', {_LEFT}, true),
    set_config('tcp_user_timeout', {_LEFT}, true)"""
"""For a query of a row of `lease`: the server ends a transaction that stands still until the lease ends, or for 3 s.

Under a lease that has run out and is nobody else's yet, after half a second. So it does while it has more to tell than
what stands between takes, and nobody takes it: then it is not idle, and no limit of a statement would end it.
"""

# FOR SHARE: while this transaction runs, nobody can take the lease over; a renewal waits for the moment it lasts.
FENCE = f"SELECT {STANDING} FROM lease WHERE key = $1 AND epoch = $2 FOR SHARE"  # noqa: S608  constants only

# Leases are in the home's database. In another one a row that only grows makes what an owner of the past does there
# void, from when its successor has put its own epoch there on.
PLANT = """
INSERT INTO lease AS held (key, owner, epoch, until) VALUES ($1, 'home', $2, now())
ON CONFLICT (key) DO UPDATE SET epoch = EXCLUDED.epoch WHERE held.epoch < EXCLUDED.epoch
RETURNING epoch
"""


@dataclass(frozen=True, slots=True)
class Fence:
    """Under which lease a write is done: it changes nothing once the lease row has another epoch."""

    key: str
    epoch: Epoch

    async def hold(self, connection: Connection) -> bool:
        """Keep the lease from changing hands until this transaction ends; False when it already has."""
        return await connection.fetchval(FENCE, self.key, self.epoch) is not None

    async def hold_away(self, connection: Connection) -> bool:
        """The same in a database where leases are not, but the epochs of those who worked there."""
        return await self.hold(connection) or await connection.fetchval(PLANT, self.key, self.epoch) is not None


class LeaseStore:
    """The port posthorn_model.ports.LeaseStore over the table `lease`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(self, keys: Collection[str], owner: str, ttl: float) -> Mapping[str, Epoch]:
        """See the port. Who lost an own lease and takes it again is another owner: its writes of before are void."""
        rows = await self._database.fetch(ACQUIRE, sorted(set(keys)), owner, float(ttl))
        return {row["key"]: Epoch(row["epoch"]) for row in rows}

    async def renew(self, held: Mapping[str, Epoch], owner: str, ttl: float) -> Collection[str]:
        """See the port. A lease that ran out but was not taken by anybody is extended too: its epoch is unchanged."""
        if not held:
            return frozenset()
        rows = await self._database.fetch(RENEW, list(held), list(held.values()), owner, float(ttl))
        return frozenset(row["key"] for row in rows)

    async def release(self, held: Mapping[str, Epoch], owner: str) -> None:
        """See the port."""
        if held:
            await self._database.execute(RELEASE, list(held), list(held.values()), owner)

    async def holders(self, prefix: str) -> Mapping[str, tuple[str, Epoch, float]]:
        """See the port."""
        rows = await self._database.fetch(HOLDERS, prefix)
        return {row["key"]: (row["owner"], Epoch(row["epoch"]), row["seconds"]) for row in rows}
