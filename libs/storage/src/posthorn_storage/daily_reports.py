"""The tables KIND_report and KIND_result: one report for each domain and day (UTC), its rows with their counts.

Rows are added while their day lasts, by every process that has seen something. A report is due when its day is over;
its end is written under the lease of who sends it, together with the message in the queue, and its rows go. What a
policy and the facts of a row are is known to the stores of each kind; here they are JSON.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, TypeAlias

from posthorn_model.errors import LeaseLost
from posthorn_model.queue_items import NewQueueMessage
from posthorn_storage.database import Connection, Database, affected
from posthorn_storage.leases import Fence

MAX_ROWS: Final = 10_000
"""Of one report: who forges a domain from everywhere makes it no longer."""
KEEP_DAYS: Final = 30
"""How long it is remembered what became of a report, and that one could not be sent."""
MAX_PROBLEM: Final = 1000

TODAY = "(now() AT TIME ZONE 'UTC')::date"
# Each report has a minute of its own in the first hours after its day: they do not all leave at midnight.
REPORTS = f"""
INSERT INTO {{kind}}_report AS r (day, domain, policy, due)
SELECT {TODAY}, domain, policy::jsonb,
    ({TODAY} + 1)::timestamp AT TIME ZONE 'UTC' + make_interval(mins => 10 + abs(hashtext(domain)) % 120)
FROM unnest($1::text[], $2::text[]) AS u (domain, policy) ORDER BY domain
ON CONFLICT (day, domain) DO UPDATE SET policy = EXCLUDED.policy WHERE r.policy <> EXCLUDED.policy
"""  # noqa: S608  constants only
ROWS = f"""
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bigint[]) AS u (domain, key, facts, count)
), room AS MATERIALIZED (
    SELECT d.domain, $5::bigint - (
        SELECT count(*) FROM {{kind}}_result r WHERE r.day = {TODAY} AND r.domain = d.domain) AS free
    FROM (SELECT DISTINCT domain FROM new) AS d
), numbered AS (
    SELECT new.*, row_number() OVER (PARTITION BY domain ORDER BY key) AS n FROM new
)
INSERT INTO {{kind}}_result AS r (day, domain, key, facts, count)
SELECT {TODAY}, domain, key, facts::jsonb, count FROM numbered JOIN room USING (domain)
WHERE n <= free OR EXISTS (
    SELECT FROM {{kind}}_result o WHERE o.day = {TODAY} AND o.domain = numbered.domain AND o.key = numbered.key)
ORDER BY domain, key
ON CONFLICT (day, domain, key) DO UPDATE SET count = r.count + EXCLUDED.count
"""  # noqa: S608  constants only
DUE = f"""
SELECT day, domain, policy, failures FROM {{kind}}_report
WHERE ended_at IS NULL AND due <= now() AND day < {TODAY} ORDER BY due LIMIT $1
"""  # noqa: S608  constants only
RESULTS = """
SELECT facts, count FROM {kind}_result WHERE day = $1 AND domain = $2 ORDER BY count DESC, key LIMIT 10000
"""
END = """
UPDATE {kind}_report SET ended_at = now(), outcome = $3, problem = NULL
WHERE day = $1 AND domain = $2 AND ended_at IS NULL
"""
CLEAR = "DELETE FROM {kind}_result WHERE day = $1 AND domain = $2"
PUT_OFF = """
UPDATE {kind}_report SET problem = $3, failures = least(failures + 1, 32000), due = now() + make_interval(secs => $4)
WHERE day = $1 AND domain = $2 AND ended_at IS NULL
"""
TRIM = f"""
DELETE FROM {{table}} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {{table}} WHERE day < {TODAY} - {KEEP_DAYS} LIMIT $1))
"""  # noqa: S608  constants only

Kind: TypeAlias = Literal["dmarc", "tls"]
Facts: TypeAlias = dict[str, Any]
Enqueue: TypeAlias = Callable[[Connection, Sequence[NewQueueMessage]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Due:
    """A report whose day is over, with its policy as JSON."""

    day: date
    domain: str
    policy: Facts
    failures: int


class DailyReports:
    """All methods raise Unavailable, Overloaded; those given a fence raise LeaseLost when it does not hold any more."""

    def __init__(self, kind: Kind, database: Database, enqueue: Enqueue, most: int = MAX_ROWS) -> None:
        """`most` rows are kept of one report."""
        self._kind = kind
        self._database = database
        self._enqueue = enqueue
        self._most = most

    async def record(self, policies: Mapping[str, Facts], counted: Sequence[tuple[str, Facts, int]]) -> None:
        """Add to the reports of today: each domain's policy as it is now, and how often which facts were seen."""
        rows: dict[tuple[str, bytes], tuple[str, int]] = {}
        for domain, each, count in counted:
            facts = json.dumps(each, sort_keys=True)  # equal facts are always the same words
            key = (domain, hashlib.sha256(facts.encode()).digest())
            rows[key] = (facts, count + rows.get(key, ("", 0))[1])
        if not rows:
            return
        columns = [(domain, key, facts, count) for (domain, key), (facts, count) in sorted(rows.items())]
        written = {domain: json.dumps(policy) for domain, policy in policies.items()}

        async def work(connection: Connection) -> None:
            await connection.execute(self._sql(REPORTS), list(written), list(written.values()))
            lists = (list(column) for column in zip(*columns, strict=True))
            await connection.execute(self._sql(ROWS), *lists, self._most)

        await self._database.run(work)

    async def due(self, limit: int) -> Sequence[Due]:
        """Reports to be sent now, those due the longest first."""
        return [
            Due(row["day"], row["domain"], json.loads(row["policy"]), row["failures"])
            for row in await self._database.fetch(self._sql(DUE), limit)
        ]

    async def rows(self, day: date, domain: str) -> Sequence[tuple[Facts, int]]:
        """What a report has to tell, the most frequent first."""
        found = await self._database.fetch(self._sql(RESULTS), day, domain)
        return [(json.loads(row["facts"]), row["count"]) for row in found]

    async def end(self, fence: Fence, day: date, domain: str, outcome: str, message: NewQueueMessage | None) -> bool:
        """Write what became of a report, with the message that carries it, in one transaction.

        False when it had ended before; then nothing is queued.
        """

        async def work(connection: Connection) -> bool:
            await _held(fence, connection)
            if not affected(await connection.execute(self._sql(END), day, domain, outcome)):
                return False
            if message is not None:
                await self._enqueue(connection, [message])
            await connection.execute(self._sql(CLEAR), day, domain)
            return True

        return await self._database.run(work)

    async def put_off(self, fence: Fence, day: date, domain: str, problem: str, pause: float) -> None:
        """Try again in `pause` seconds."""

        async def work(connection: Connection) -> None:
            await _held(fence, connection)
            text = problem.replace("\0", "")[:MAX_PROBLEM]
            await connection.execute(self._sql(PUT_OFF), day, domain, text, float(pause))

        await self._database.run(work)

    async def trim(self, limit: int) -> int:
        """Remove what is older than a month, at most `limit` rows of each table; returns how many there were."""
        tables = (f"{self._kind}_result", f"{self._kind}_report")
        return sum([await self._database.execute(TRIM.format(table=table), limit) for table in tables])

    def _sql(self, statement: str) -> str:
        return statement.format(kind=self._kind)


async def _held(fence: Fence, connection: Connection) -> None:
    if not await fence.hold(connection):
        raise LeaseLost(f"{fence.key} has another epoch by now", key=fence.key, epoch=fence.epoch)
