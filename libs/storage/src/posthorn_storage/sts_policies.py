"""The table `mta_sts_policy`: MTA-STS policies of other domains (RFC 8461), kept until they expire.

All nodes share them, and they outlive restarts: who can cut us off from a domain's web server today cannot undo what
the domain promised before. Times are the database's.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from posthorn_model.mta_sts import StsPolicy
from posthorn_storage.database import Database

FIRST_REFRESH: Final = 86_400.0
"""Seconds after which a policy is fetched again at the latest (RFC 8461 10.2); half of its age where that is less."""
NEXT_REFRESH: Final = 3600.0
"""Seconds until that is tried again where it failed."""

LIVE = "SELECT id, policy FROM mta_sts_policy WHERE domain = $1 AND expires_at > now()"
PUT = """
INSERT INTO mta_sts_policy AS p (domain, id, policy, fetched_at, expires_at, refresh_at)
VALUES ($1, $2, $3::jsonb, now(), now() + make_interval(secs => $4), now() + make_interval(secs => $5))
ON CONFLICT (domain) DO UPDATE SET id = EXCLUDED.id, policy = EXCLUDED.policy, fetched_at = EXCLUDED.fetched_at,
    expires_at = EXCLUDED.expires_at, refresh_at = EXCLUDED.refresh_at
"""
# Who is first has it for an hour; two workers never fetch one policy.
CLAIM = f"""
UPDATE mta_sts_policy SET refresh_at = now() + make_interval(secs => {NEXT_REFRESH:.0f})
WHERE domain = ANY (ARRAY(
    SELECT domain FROM mta_sts_policy WHERE refresh_at <= now() AND expires_at > now()
    ORDER BY refresh_at LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING domain, id
"""  # noqa: S608  constants only
FORGET = """
DELETE FROM mta_sts_policy WHERE domain = ANY (ARRAY(
    SELECT domain FROM mta_sts_policy WHERE refresh_at <= now() AND expires_at <= now()
    ORDER BY refresh_at LIMIT $1 FOR UPDATE SKIP LOCKED))
"""


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy that holds, and the id that DNS had for it."""

    id: str
    policy: StsPolicy


class StsPolicies:
    """All methods raise Unavailable, Overloaded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def live(self, domain: str) -> StoredPolicy | None:
        """The policy of a domain that has not expired."""
        rows = await self._database.fetch(LIVE, domain)
        return StoredPolicy(rows[0]["id"], _policy(json.loads(rows[0]["policy"]))) if rows else None

    async def put(self, domain: str, found: StoredPolicy) -> None:
        """Keep what was fetched right now in place of what was there."""
        age = float(found.policy.max_age)
        await self._database.execute(
            PUT, domain, found.id, json.dumps(asdict(found.policy)), age, min(age / 2, FIRST_REFRESH)
        )

    async def claim_stale(self, limit: int) -> Sequence[tuple[str, str]]:
        """Domains whose policies are to be fetched again, with their ids; nobody else gets them for an hour."""
        return [(row["domain"], row["id"]) for row in await self._database.fetch(CLAIM, limit)]

    async def forget(self, limit: int) -> int:
        """Remove policies that have expired; returns how many."""
        return await self._database.execute(FORGET, limit)


def _policy(facts: dict[str, Any]) -> StsPolicy:
    return StsPolicy(facts["mode"], tuple(facts["mx"]), facts["max_age"])
