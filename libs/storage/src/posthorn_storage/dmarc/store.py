"""The tables `dmarc_report` and `dmarc_result`: one report for each domain and day (UTC), its rows with their counts.

Rows are added while their day lasts, by every process that judges mail. A report is due when its day is over; its end
is written under the lease of who sends it, together with the message in the queue, and its rows go.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final, TypeAlias

from posthorn_model.dmarc import AuthenticatedDomain, DmarcObservation, PublishedPolicy
from posthorn_model.errors import LeaseLost
from posthorn_model.queue_items import NewQueueMessage
from posthorn_storage.database import Connection, Database, affected
from posthorn_storage.leases import Fence

MAX_ROWS: Final = 10_000
"""Of one report: who forges a domain from everywhere makes it no longer."""
KEEP_DAYS: Final = 30
"""How long it is remembered what became of a report, and that one could not be sent."""
MAX_PROBLEM: Final = 1000

_TODAY = "(now() AT TIME ZONE 'UTC')::date"
# Each report has a minute of its own in the first hours after its day: they do not all leave at midnight.
REPORTS = f"""
INSERT INTO dmarc_report AS r (day, domain, policy, due)
SELECT {_TODAY}, domain, policy::jsonb,
    ({_TODAY} + 1)::timestamp AT TIME ZONE 'UTC' + make_interval(mins => 10 + abs(hashtext(domain)) % 120)
FROM unnest($1::text[], $2::text[]) AS u (domain, policy) ORDER BY domain
ON CONFLICT (day, domain) DO UPDATE SET policy = EXCLUDED.policy WHERE r.policy <> EXCLUDED.policy
"""  # noqa: S608  constants only
ROWS = f"""
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bigint[]) AS u (domain, key, facts, count)
), room AS MATERIALIZED (
    SELECT d.domain, {MAX_ROWS} - (
        SELECT count(*) FROM dmarc_result r WHERE r.day = {_TODAY} AND r.domain = d.domain) AS free
    FROM (SELECT DISTINCT domain FROM new) AS d
), numbered AS (
    SELECT new.*, row_number() OVER (PARTITION BY domain ORDER BY key) AS n FROM new
)
INSERT INTO dmarc_result AS r (day, domain, key, facts, count)
SELECT {_TODAY}, domain, key, facts::jsonb, count FROM numbered JOIN room USING (domain)
WHERE n <= free OR EXISTS (
    SELECT FROM dmarc_result o WHERE o.day = {_TODAY} AND o.domain = numbered.domain AND o.key = numbered.key)
ORDER BY domain, key
ON CONFLICT (day, domain, key) DO UPDATE SET count = r.count + EXCLUDED.count
"""  # noqa: S608  constants only
DUE = f"""
SELECT day, domain, policy, failures FROM dmarc_report
WHERE ended_at IS NULL AND due <= now() AND day < {_TODAY} ORDER BY due LIMIT $1
"""  # noqa: S608  constants only
RESULTS = """
SELECT facts, count FROM dmarc_result WHERE day = $1 AND domain = $2 ORDER BY count DESC, key LIMIT 10000
"""
END = """
UPDATE dmarc_report SET ended_at = now(), outcome = $3, problem = NULL
WHERE day = $1 AND domain = $2 AND ended_at IS NULL
"""
CLEAR = "DELETE FROM dmarc_result WHERE day = $1 AND domain = $2"
PUT_OFF = """
UPDATE dmarc_report SET problem = $3, failures = least(failures + 1, 32000), due = now() + make_interval(secs => $4)
WHERE day = $1 AND domain = $2 AND ended_at IS NULL
"""
TRIM_ROWS = f"""
DELETE FROM dmarc_result WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM dmarc_result WHERE day < {_TODAY} - {KEEP_DAYS} LIMIT $1))
"""  # noqa: S608  constants only
TRIM_REPORTS = f"""
DELETE FROM dmarc_report WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM dmarc_report WHERE day < {_TODAY} - {KEEP_DAYS} LIMIT $1))
"""  # noqa: S608  constants only

Enqueue: TypeAlias = Callable[[Connection, Sequence[NewQueueMessage]], Awaitable[object]]
Counts: TypeAlias = Mapping[DmarcObservation, int]


@dataclass(frozen=True, slots=True)
class DueReport:
    """A report whose day is over."""

    day: date
    published: PublishedPolicy
    failures: int


@dataclass(frozen=True, slots=True)
class CountedRow:
    """Messages of which the same was observed."""

    observation: DmarcObservation
    count: int


class DmarcStore:
    """All methods raise Unavailable, Overloaded; those given a fence raise LeaseLost when it does not hold any more."""

    def __init__(self, database: Database, enqueue: Enqueue) -> None:
        self._database = database
        self._enqueue = enqueue

    async def record(self, counts: Counts) -> None:
        """Add so many messages of each observation to the reports of today; see DmarcTally."""
        policies = {each.published.domain: json.dumps(asdict(each.published)) for each in counts}
        rows: dict[tuple[str, bytes], tuple[str, int]] = {}
        for each, count in counts.items():
            facts = _facts(each)
            key = (each.published.domain, hashlib.sha256(facts.encode()).digest())
            rows[key] = (facts, count + rows.get(key, ("", 0))[1])
        if not rows:
            return
        columns = [(domain, key, facts, count) for (domain, key), (facts, count) in sorted(rows.items())]

        async def work(connection: Connection) -> None:
            await connection.execute(REPORTS, list(policies), list(policies.values()))
            await connection.execute(ROWS, *(list(column) for column in zip(*columns, strict=True)))

        await self._database.run(work)

    async def due(self, limit: int) -> Sequence[DueReport]:
        """Reports to be sent now, those due the longest first."""
        return [
            DueReport(row["day"], _published(json.loads(row["policy"])), row["failures"])
            for row in await self._database.fetch(DUE, limit)
        ]

    async def rows(self, report: DueReport) -> Sequence[CountedRow]:
        """What a report has to tell, the most frequent first."""
        found = await self._database.fetch(RESULTS, report.day, report.published.domain)
        return [CountedRow(_observation(report.published, json.loads(row["facts"])), row["count"]) for row in found]

    async def end(self, fence: Fence, report: DueReport, outcome: str, message: NewQueueMessage | None) -> bool:
        """Write what became of a report, with the message that carries it, in one transaction.

        False when it had ended before; then nothing is queued.
        """

        async def work(connection: Connection) -> bool:
            await _held(fence, connection)
            if not affected(await connection.execute(END, report.day, report.published.domain, outcome)):
                return False
            if message is not None:
                await self._enqueue(connection, [message])
            await connection.execute(CLEAR, report.day, report.published.domain)
            return True

        return await self._database.run(work)

    async def put_off(self, fence: Fence, report: DueReport, problem: str, pause: float) -> None:
        """Try again in `pause` seconds."""

        async def work(connection: Connection) -> None:
            await _held(fence, connection)
            text = problem.replace("\0", "")[:MAX_PROBLEM]
            await connection.execute(PUT_OFF, report.day, report.published.domain, text, float(pause))

        await self._database.run(work)

    async def trim(self, limit: int) -> int:
        """Remove what is older than a month, at most `limit` rows of each table; returns how many there were."""
        rows = await self._database.execute(TRIM_ROWS, limit)
        return rows + await self._database.execute(TRIM_REPORTS, limit)


async def _held(fence: Fence, connection: Connection) -> None:
    if not await fence.hold(connection):
        raise LeaseLost(f"{fence.key} has another epoch by now", key=fence.key, epoch=fence.epoch)


def _facts(each: DmarcObservation) -> str:
    """Everything but the policy, always in the same words."""
    facts = asdict(each)
    del facts["published"]
    return json.dumps(facts, sort_keys=True)


def _published(facts: dict[str, Any]) -> PublishedPolicy:
    return PublishedPolicy(**{**facts, "reports_to": tuple(facts["reports_to"])})


def _observation(published: PublishedPolicy, facts: dict[str, Any]) -> DmarcObservation:
    dkim = tuple(AuthenticatedDomain(**each) for each in facts.pop("dkim"))
    spf = tuple(AuthenticatedDomain(**each) for each in facts.pop("spf"))
    return DmarcObservation(published, **facts, dkim=dkim, spf=spf)
