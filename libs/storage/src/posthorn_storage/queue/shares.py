"""A limit of the whole cluster, in parts that its processes hold for a while: connections to a relay, to a large site.

The sum of what is held is never more than the limit. A part is held until a time by the database's clock; its holder
counts from before it asked, so it stops using it before that. A holder says what it has work for and what it cannot
give back yet; when not everybody can have all, each gets an equal part, and who has more gives back as it can. Where
there are fewer connections than processes that want one, those that get one take turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from posthorn_storage.database import Connection, Database

TURN_SECONDS: Final = 5.0
"""How long a process has one of too few connections before it is another one's turn."""

# Alone in its statement: the next one sees what those who held the lock before have written. In one order.
LOCK = """
SELECT pg_advisory_xact_lock(hashed) FROM (
    SELECT DISTINCT hashtextextended('queue_share ' || name, 0) AS hashed FROM unnest($1::text[]) AS n (name)
    ORDER BY hashed) AS ordered
"""

# $1 the holder, $2-$6 arrays: names, limits, what is wanted, what is kept, whether it must be a site that is spread;
# $7 seconds, $8 of a turn. Of a part that has run out nothing can be kept: others may have it.
ASK = """
WITH asked AS (
    SELECT a.name, a.most, least(a.wanted, a.most) AS wanted,
        CASE WHEN held.connections IS NULL THEN 0 ELSE least(a.kept, held.connections) END AS kept
    FROM unnest($2::text[], $3::int[], $4::int[], $5::int[], $6::bool[]) AS a (name, most, wanted, kept, spread)
    LEFT JOIN queue_share held ON held.name = a.name AND held.holder = $1 AND held.until > now()
    WHERE NOT a.spread OR EXISTS (SELECT FROM queue_spread s WHERE s.site = a.name)
), around AS (
    SELECT a.*, coalesce(sum(s.connections), 0)::int AS taken,
        count(*) FILTER (WHERE s.wanted > 0)::int + (a.wanted > 0)::int AS askers,
        count(*) FILTER (WHERE s.wanted > 0 AND s.holder < $1)::int AS before,
        coalesce(sum(s.wanted), 0)::int AS others_want,
        coalesce(array_agg(s.wanted) FILTER (WHERE s.wanted > 0), '{}') AS wishes
    FROM asked a LEFT JOIN queue_share s ON s.name = a.name AND s.holder <> $1 AND s.until > now()
    GROUP BY a.name, a.most, a.wanted, a.kept
), parts AS (
    SELECT *, most / greatest(askers, 1) AS part, most % greatest(askers, 1) AS rest,
        (before + CASE WHEN most < askers THEN floor(extract(epoch FROM now()) / $8::float8)::bigint ELSE 0 END)
            % greatest(askers, 1) AS place
    FROM around
), judged AS (
    SELECT name, wanted, kept, most - taken AS free,
        CASE WHEN wanted + others_want <= most THEN wanted
            ELSE least(wanted, greatest(part + (place < rest)::int, most - (
                SELECT sum(least(wish, part + 1)) FROM unnest(wishes) AS w (wish)))) END::int AS target
    FROM parts
), granted AS (
    SELECT name, wanted, target, greatest(kept, least(target, free), 0)::int AS connections FROM judged
), put AS (
    INSERT INTO queue_share AS s (name, holder, connections, wanted, until)
    SELECT name, $1, connections, wanted, now() + make_interval(secs => $7::float8) FROM granted
    WHERE wanted > 0 OR connections > 0
    ON CONFLICT (name, holder) DO UPDATE SET
        connections = EXCLUDED.connections, wanted = EXCLUDED.wanted, until = EXCLUDED.until
), gone AS (
    DELETE FROM queue_share s USING granted g
    WHERE s.name = g.name AND CASE WHEN s.holder = $1 THEN g.wanted = 0 AND g.connections = 0
        ELSE s.until < now() - interval '1 minute' END
)
SELECT name, connections, target FROM granted
"""

RELEASE = "DELETE FROM queue_share WHERE holder = $1"

HELD = """
SELECT s.name, s.holder, s.connections, s.wanted, p.node_id, p.hostname
FROM queue_share s LEFT JOIN process p ON p.boot = s.holder
WHERE s.name = ANY ($1::text[]) AND s.until > now() ORDER BY s.name, s.holder
"""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one process asks of one limit."""

    name: str
    most: int
    """The limit."""
    wanted: int
    kept: int
    """What it has and cannot give back at this moment."""
    spread: bool = False
    """A site: nothing is granted where its recipients are not spread, since one owner has the whole limit then."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What a process may have open; `target` under it: it should give so many back as soon as it can."""

    connections: int
    target: int


@dataclass(frozen=True, slots=True)
class Share:
    """Who holds what of a limit."""

    name: str
    holder: str
    connections: int
    wanted: int
    node: int | None = None
    hostname: str = ""


class ShareStore:
    """All methods raise Unavailable, Overloaded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self, holder: str, asks: Sequence[Ask], seconds: float) -> dict[str, Granted]:
        """Ask for parts of limits, for so many seconds from before this call; each name once.

        What is neither wanted nor kept is given back. A name that is missing from the answer is not shared out.
        """
        columns = [[getattr(ask, name) for ask in asks] for name in ("name", "most", "wanted", "kept", "spread")]

        async def work(connection: Connection) -> dict[str, Granted]:
            await connection.execute(LOCK, columns[0])
            rows = await connection.fetch(ASK, holder, *columns, float(seconds), TURN_SECONDS)
            return {row["name"]: Granted(row["connections"], row["target"]) for row in rows}

        return await self._database.run(work)

    async def release(self, holder: str) -> None:
        """Give back everything: nothing of it is open any more."""
        await self._database.execute(RELEASE, holder)

    async def held(self, names: Sequence[str]) -> list[Share]:
        """Who holds what of these limits."""
        return [
            Share(row["name"], row["holder"], row["connections"], row["wanted"], row["node_id"], row["hostname"] or "")
            for row in await self._database.fetch(HELD, list(names))
        ]
