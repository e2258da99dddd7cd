"""The lookup store in the data store: one statement each, over the unlogged tables of schema/lookup.py.

Expiry is judged by clock_timestamp(): a statement that waited for another's row lock must not judge by the moment at
which it began to wait. Statements on several keys take their locks in the order of the keys.
"""

from collections.abc import Collection, Mapping, Sequence

from posthorn_model.errors import Overloaded
from posthorn_model.lookup import Take, Taken
from posthorn_storage.database import Database
from posthorn_storage.lookup.buckets import SECOND, judged, period_of, step_of

COUNT = """
INSERT INTO lookup_counter AS held (key, sum, until)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (key) DO UPDATE SET (sum, until) = (
    SELECT CASE WHEN held.until > now THEN held.sum + EXCLUDED.sum ELSE EXCLUDED.sum END,
        CASE WHEN held.until > now THEN held.until ELSE now + make_interval(secs => $3) END
    FROM (SELECT clock_timestamp() AS now) AS clock)
RETURNING sum
"""

COUNTS = "SELECT key, sum FROM lookup_counter WHERE key = ANY ($1::text[]) AND until > clock_timestamp()"

# A row is written also when nothing is allowed: only so can the statement tell what it decided after a wait for others.
TAKE = """
WITH wanted AS (
    SELECT key, step * interval '1 microsecond' AS step, period * interval '1 microsecond' AS period
    FROM unnest($1::text[], $2::float8[], $3::float8[]) AS wanted (key, step, period)
)
INSERT INTO lookup_limit AS held (key, full_at, allowed, until)
SELECT key, clock_timestamp() + step, true, clock_timestamp() + 2 * period FROM wanted ORDER BY key
ON CONFLICT (key) DO UPDATE SET (full_at, allowed, until) = (
    SELECT CASE WHEN fits THEN next ELSE held.full_at END, fits,
        CASE WHEN next > held.until THEN next + period ELSE held.until END
    FROM (SELECT clock_timestamp() AS now) AS clock
        CROSS JOIN LATERAL (
            SELECT period, greatest(held.full_at, now) + step AS next FROM wanted WHERE wanted.key = EXCLUDED.key
        ) AS moved
        CROSS JOIN LATERAL (SELECT next <= now + period AS fits) AS judged)
RETURNING key, allowed, extract(epoch FROM full_at - clock_timestamp())::float8 AS ahead
"""

LOOK = """
SELECT key, extract(epoch FROM full_at - clock_timestamp())::float8 AS ahead
FROM lookup_limit WHERE key = ANY ($1::text[])
"""

GET = "SELECT key, value FROM lookup_value WHERE key = ANY ($1::text[]) AND until > clock_timestamp()"

PUT = """
INSERT INTO lookup_value (key, value, until)
SELECT key, value, clock_timestamp() + make_interval(secs => $3)
FROM unnest($1::text[], $2::bytea[]) AS wanted (key, value) ORDER BY key
ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, until = EXCLUDED.until
"""

# Neither added nor there: another added it after this statement's snapshot, so the next attempt sees it.
ADD = """
WITH added AS (
    INSERT INTO lookup_value AS held (key, value, until)
    VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
    ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, until = EXCLUDED.until
    WHERE held.until <= clock_timestamp()
    RETURNING key
)
SELECT EXISTS (SELECT FROM added) AS added,
    (SELECT value FROM lookup_value WHERE key = $1 AND until > clock_timestamp()) AS value
"""
ADD_ATTEMPTS = 5

SWAP = """
UPDATE lookup_value SET value = $3, until = clock_timestamp() + make_interval(secs => $4)
WHERE key = $1 AND value = $2 AND until > clock_timestamp()
"""

POP = "DELETE FROM lookup_value WHERE key = $1 RETURNING CASE WHEN until > clock_timestamp() THEN value END"

DROP = """
WITH counters AS (DELETE FROM lookup_counter WHERE key = ANY ($1::text[])),
    limits AS (DELETE FROM lookup_limit WHERE key = ANY ($1::text[])),
    sets AS (DELETE FROM lookup_set WHERE key = ANY ($1::text[]))
DELETE FROM lookup_value WHERE key = ANY ($1::text[])
"""

JOIN = """
INSERT INTO lookup_set AS held (key, members, ends, joined, until)
SELECT $1, ARRAY[$2::text], ARRAY[now + ttl], true, now + 2 * ttl
FROM (SELECT clock_timestamp() AS now, make_interval(secs => $3) AS ttl) AS clock
ON CONFLICT (key) DO UPDATE SET (members, ends, joined, until) = (
    SELECT CASE WHEN fits THEN others || $2::text ELSE others END,
        CASE WHEN fits THEN their_ends || (now + ttl) ELSE their_ends END,
        fits,
        CASE WHEN fits AND now + ttl > held.until THEN now + 2 * ttl ELSE held.until END
    FROM (SELECT clock_timestamp() AS now, make_interval(secs => $3) AS ttl) AS clock
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(member) FILTER (WHERE member <> $2), '{}') AS others,
                coalesce(array_agg(ends_at) FILTER (WHERE member <> $2), '{}') AS their_ends,
                coalesce(bool_or(member = $2), false) AS is_in
            FROM unnest(held.members, held.ends) AS there (member, ends_at) WHERE ends_at > now
        ) AS present
        CROSS JOIN LATERAL (SELECT is_in OR cardinality(others) < $4 AS fits) AS judged)
RETURNING CASE WHEN joined THEN cardinality(members) END
"""

LEAVE = """
UPDATE lookup_set AS held SET (members, ends) = (
    SELECT coalesce(array_agg(member), '{}'), coalesce(array_agg(ends_at), '{}')
    FROM unnest(held.members, held.ends) AS there (member, ends_at) WHERE member <> $2)
WHERE key = $1 AND $2 = ANY (members)
"""

MEMBERS = """
SELECT member FROM lookup_set CROSS JOIN LATERAL unnest(members, ends) AS there (member, ends_at)
WHERE key = $1 AND ends_at > clock_timestamp()
"""


class PostgresLookup:
    """See the module; the methods are the port's. It does not close the database, which is not its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, key: str, ttl: float, amount: int = 1) -> int:
        total: int = await self._database.fetchval(COUNT, key, amount, float(ttl))
        return total

    async def counts(self, keys: Collection[str]) -> Mapping[str, int]:
        return {row["key"]: row["sum"] for row in await self._database.fetch(COUNTS, list(keys))}

    async def take(self, wanted: Sequence[Take]) -> Sequence[Taken]:
        """One statement, or two when some only ask."""
        taking = [take for take in wanted if take.cost > 0]
        found: dict[str, Taken] = {}
        if taking:
            steps = [float(step_of(take) * take.cost) for take in taking]
            periods = [float(period_of(take)) for take in taking]
            by_key = {take.key: take for take in taking}
            for row in await self._database.fetch(TAKE, list(by_key), steps, periods):
                refused = judged(by_key[row["key"]], max(0, int(row["ahead"] * SECOND)))
                found[row["key"]] = Taken(allowed=True) if row["allowed"] else Taken(False, refused.retry_after)
        asking = [take.key for take in wanted if take.cost == 0]
        ahead = {row["key"]: row["ahead"] for row in await self._database.fetch(LOOK, asking)} if asking else {}
        return [found.get(take.key) or judged(take, max(0, int(ahead.get(take.key, 0.0) * SECOND))) for take in wanted]

    async def get(self, keys: Collection[str]) -> Mapping[str, bytes]:
        return {row["key"]: row["value"] for row in await self._database.fetch(GET, list(keys))}

    async def put(self, values: Mapping[str, bytes], ttl: float) -> None:
        await self._database.execute(PUT, list(values), list(values.values()), float(ttl))

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        for _ in range(ADD_ATTEMPTS):
            row = await self._database.fetchrow(ADD, key, value, float(ttl))
            assert row is not None
            if row["added"]:
                return None
            if row["value"] is not None:
                there: bytes = row["value"]
                return there
        raise Overloaded(step="lookup add", attempts=ADD_ATTEMPTS)

    async def swap(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        return await self._database.execute(SWAP, key, expected, value, float(ttl)) == 1

    async def pop(self, key: str) -> bytes | None:
        value: bytes | None = await self._database.fetchval(POP, key)
        return value

    async def drop(self, keys: Collection[str]) -> None:
        await self._database.execute(DROP, list(keys))

    async def join(self, key: str, member: str, ttl: float, limit: int) -> int | None:
        size: int | None = await self._database.fetchval(JOIN, key, member, float(ttl), limit)
        return size

    async def leave(self, key: str, member: str) -> None:
        await self._database.execute(LEAVE, key, member)

    async def members(self, key: str) -> frozenset[str]:
        return frozenset(row["member"] for row in await self._database.fetch(MEMBERS, key))

    async def probe(self) -> str:
        return await self._database.probe()

    async def close(self) -> None:
        """Nothing of its own is open."""
