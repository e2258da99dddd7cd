"""What is still to be indexed, as rows that are leased like those of the queue.

A claim carries the epoch of its claimant's lease and the number of the attempt, and whatever ends it must find both in
the row (design law 5): the row fences by itself, for it may be in another database than the lease. So a worker that
slept changes nothing of a task that was taken over, and a task is done once by whoever claimed it last.

Fresh tasks are claimed many at a time, those that were begun before one at a time: should one of them end its worker,
its neighbours are not counted as failed with it.
"""

from collections.abc import Sequence
from typing import Final

from posthorn_model.errors import AccountNotFound
from posthorn_model.ids import AccountId, Epoch, MessageId
from posthorn_storage.database import Database, Row
from posthorn_storage.index.port import Claim, Lag

FRESH: Final = 0
CLAIMED: Final = 1
AGAIN: Final = 2
"""To be tried again when due."""
FAILED: Final = 3
"""Given up, with the reason."""

HOLD_SECONDS: Final = 120.0
"""A claim whose worker neither finished nor failed it for so long is open to others."""
MAX_REASON: Final = 500

_MINE = "mod(account_id, $2::int) = $3::int"

CLAIM_FRESH = f"""
WITH due AS (
    SELECT account_id, message_id FROM index_task
    WHERE state = 0 AND due <= now() AND {_MINE}
    ORDER BY due LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE index_task t SET state = 1, epoch = $1, attempt = 1, due = now() + make_interval(secs => $5)
FROM due WHERE t.account_id = due.account_id AND t.message_id = due.message_id
RETURNING t.account_id, t.message_id, t.attempt
"""  # noqa: S608  constants only

CLAIM_AGAIN = f"""
WITH due AS (
    SELECT account_id, message_id FROM index_task
    WHERE state IN (1, 2) AND due <= now() AND {_MINE}
    ORDER BY due LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE index_task t SET
    state = 1, epoch = $1, attempt = least(t.attempt + 1, 32000), due = now() + make_interval(secs => $4)
FROM due WHERE t.account_id = due.account_id AND t.message_id = due.message_id
RETURNING t.account_id, t.message_id, t.attempt
"""  # noqa: S608  constants only

TAKE_OVER = f"UPDATE index_task SET state = 2, due = now() WHERE state = 1 AND epoch < $1 AND {_MINE}"  # noqa: S608

FAIL = """
UPDATE index_task SET state = CASE WHEN $6::float8 IS NULL THEN 3 ELSE 2 END, reason = $5,
    due = now() + make_interval(secs => coalesce($6, 0))
WHERE account_id = $1 AND message_id = $2 AND state = 1 AND epoch = $3 AND attempt = $4
"""

PUT_BACK = """
UPDATE index_task t SET state = CASE WHEN t.attempt > 1 THEN 2 ELSE 0 END, attempt = t.attempt - 1,
    due = now() + make_interval(secs => $5)
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[]) AS c (account_id, message_id, epoch, attempt)
WHERE t.account_id = c.account_id AND t.message_id = c.message_id AND t.state = 1 AND t.epoch = c.epoch
    AND t.attempt = c.attempt
"""

LAG = """
SELECT count(*) FILTER (WHERE state < 3) AS waiting, count(*) FILTER (WHERE state = 3) AS failed,
    coalesce(extract(epoch FROM now() - min(queued_at) FILTER (WHERE state < 3)), 0)::float8 AS seconds
FROM index_task WHERE $1::bigint IS NULL OR account_id = $1
"""

FAILURES = """
SELECT account_id, message_id, attempt, reason FROM index_task WHERE state = 3 ORDER BY due DESC LIMIT $1
"""

INDEXED = """
SELECT (SELECT count(*) FROM message_index WHERE account_id = $1) AS indexed,
    (SELECT count(*) FROM message_index WHERE account_id = $1 AND problem IS NOT NULL) AS partly,
    EXISTS (SELECT FROM account_counter WHERE account_id = $1) AS known
"""

REBUILD = """
INSERT INTO index_task (account_id, message_id)
SELECT account_id, message_id FROM message_text WHERE account_id = $1
ON CONFLICT (account_id, message_id) DO UPDATE SET state = 0, attempt = 0, reason = NULL, due = now(), queued_at = now()
"""


class IndexTasks:
    """The tasks of one database. `part` of `parts` is the share of accounts that a lease stands for.

    All methods raise Unavailable, Overloaded.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, epoch: Epoch, limit: int, *, part: int = 0, parts: int = 1) -> list[Claim]:
        """Claim fresh tasks, the oldest first."""
        rows = await self._database.fetch(CLAIM_FRESH, epoch, parts, part, limit, HOLD_SECONDS)
        return _claims(epoch, rows)

    async def claim_again(self, epoch: Epoch, *, part: int = 0, parts: int = 1) -> list[Claim]:
        """Claim one task that failed before, or whose claimant is gone."""
        return _claims(epoch, await self._database.fetch(CLAIM_AGAIN, epoch, parts, part, HOLD_SECONDS))

    async def take_over(self, epoch: Epoch, *, part: int = 0, parts: int = 1) -> int:
        """Open what earlier owners of this part had claimed; returns how many tasks that were."""
        return await self._database.execute(TAKE_OVER, epoch, parts, part)

    async def fail(self, claim: Claim, reason: str, *, again: float | None) -> None:
        """Note why an attempt failed: the task is due `again` after so many seconds, or given up (None)."""
        told = reason.replace("\0", "")[:MAX_REASON]
        await self._database.execute(FAIL, claim.account, claim.message, claim.epoch, claim.attempt, told, again)

    async def put_back(self, claims: Sequence[Claim], seconds: float) -> None:
        """Give claims back that were not worked on, to be due after `seconds`; the attempts do not count."""
        await self._database.execute(PUT_BACK, *columns(claims), seconds)

    async def lag(self, account: AccountId | None = None) -> Lag:
        """How far the index is behind: of one account, or of all."""
        row = await self._database.fetchrow(LAG, account)
        assert row is not None
        return Lag(row["waiting"], row["failed"], row["seconds"])

    async def failures(self, limit: int = 100) -> list[tuple[AccountId, MessageId, int, str]]:
        """Tasks that were given up, the latest first: account, message, attempts, reason."""
        return [tuple(row) for row in await self._database.fetch(FAILURES, limit)]

    async def indexed(self, account: AccountId) -> tuple[int, int]:
        """Messages of an account in the index, and those of them not read in full. Raises AccountNotFound."""
        row = await self._database.fetchrow(INDEXED, account)
        if row is None or not row["known"]:
            raise AccountNotFound(account=account)
        return row["indexed"], row["partly"]

    async def rebuild(self, account: AccountId) -> int:
        """Have all messages of an account indexed anew; returns how many. Until then the old words are found."""
        return await self._database.execute(REBUILD, account)


def columns(claims: Sequence[Claim]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Claims as four arrays for a statement."""
    return (
        [claim.account for claim in claims],
        [claim.message for claim in claims],
        [claim.epoch for claim in claims],
        [claim.attempt for claim in claims],
    )


def _claims(epoch: Epoch, rows: Sequence[Row]) -> list[Claim]:
    found = [Claim(row["account_id"], row["message_id"], epoch, row["attempt"]) for row in rows]
    return sorted(found, key=lambda claim: (claim.account, claim.message))
