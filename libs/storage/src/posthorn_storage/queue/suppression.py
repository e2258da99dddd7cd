"""The suppression list: addresses that get no more mail of a sender, of a domain, or of anybody of the cluster.

Entries come from bounces that say that there is no such user, for a time; from complaints and operators by hand. What
smtp-out does with them is its setting; here they are only kept.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from posthorn_model.errors import InvalidAddress, NotFound
from posthorn_model.queue_items import site_of
from posthorn_storage.database import Database, Row

Source: TypeAlias = Literal["bounce", "complaint", "operator"]
MAX_ADDRESS: Final = 320
MAX_REASON: Final = 300
FORGET_BATCH: Final = 100

# A few of those that are over go with each that comes. What was said by hand is not changed by a bounce.
PUT = f"""
WITH gone AS (
    DELETE FROM queue_suppression WHERE ctid IN (
        SELECT ctid FROM queue_suppression WHERE until IS NOT NULL AND until <= now() LIMIT {FORGET_BATCH}
        FOR UPDATE SKIP LOCKED)
        AND NOT (address = ANY ($1::text[]))
)
INSERT INTO queue_suppression AS s (address, scope, source, reason, until)
SELECT address, $2, $3, reason, now() + make_interval(secs => $5::float8)
FROM unnest($1::text[], $4::text[]) AS n (address, reason)
ON CONFLICT (address, scope) DO UPDATE SET
    source = EXCLUDED.source, reason = EXCLUDED.reason, since = now(), until = EXCLUDED.until
WHERE EXCLUDED.source <> 'bounce' OR s.source = 'bounce' OR s.until <= now()
RETURNING address
"""  # noqa: S608  constants only

REMOVE = "DELETE FROM queue_suppression WHERE address = $1 AND ($2::text IS NULL OR scope = $2) RETURNING scope"

FIND = """
SELECT DISTINCT ON (address) * FROM queue_suppression
WHERE address = ANY ($1::text[]) AND scope = ANY ($2::text[]) AND (until IS NULL OR until > now())
ORDER BY address, until DESC NULLS FIRST
"""

LIST = """
SELECT * FROM queue_suppression
WHERE (until IS NULL OR until > now()) AND ($1::text IS NULL OR strpos(address, $1) > 0)
    AND ($2::text IS NULL OR scope = $2) AND ($3::text IS NULL OR source = $3) AND (address, scope) > ($4, $5)
ORDER BY address, scope LIMIT $6
"""


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that gets no mail. `scope`: domain or address of the sender, "": everybody's."""

    address: str
    scope: str
    source: Source
    reason: str
    since: datetime
    until: datetime | None


class SuppressionList:
    """All methods raise Unavailable, Overloaded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, addresses: Mapping[str, str], scope: str, source: Source, seconds: float | None = None
    ) -> Sequence[str]:
        """Enter addresses (keys) with their reasons, for so long, None: until they are removed; returns the entered.

        A bounce changes nothing that was said by hand. Raises InvalidAddress.
        """
        rows = {_folded(address): " ".join(reason.split())[:MAX_REASON] for address, reason in addresses.items()}
        found = await self._database.fetch(
            PUT, sorted(rows), scope_of(scope), source, [rows[one] for one in sorted(rows)], seconds
        )
        return [row["address"] for row in found]

    async def remove(self, address: str, scope: str | None = None) -> int:
        """Remove an address from one scope, None: from all; returns from how many. Raises NotFound, InvalidAddress."""
        where = None if scope is None else scope_of(scope)
        rows = await self._database.fetch(REMOVE, _folded(address), where)
        if not rows:
            raise NotFound("that address is not suppressed", address=address)
        return len(rows)

    async def find(self, addresses: Collection[str], sender: str) -> Mapping[str, Suppression]:
        """Which of the addresses get no mail of a sender, by the addresses as they were given."""
        folded = {address: address.lower() for address in addresses}
        scopes = ["", sender.lower(), site_of(sender) or ""]
        rows = await self._database.fetch(FIND, sorted(set(folded.values())), scopes)
        found = {row["address"]: _suppression(row) for row in rows}
        return {address: found[low] for address, low in folded.items() if low in found}

    async def all(
        self,
        *,
        part: str | None = None,
        scope: str | None = None,
        source: Source | None = None,
        after: tuple[str, str] = ("", ""),
        limit: int = 100,
    ) -> Sequence[Suppression]:
        """Those that stand, by address; `after` is address and scope of the last one of the page before."""
        part = None if part is None else part.lower()
        rows = await self._database.fetch(LIST, part, scope, source, *after, min(limit, 1000))
        return [_suppression(row) for row in rows]


def scope_of(text: str) -> str:
    """A sender's address, its domain, or "" for everybody, as they are kept. Raises InvalidAddress."""
    text = text.strip().lower()
    if not text or "@" in text:
        return _folded(text) if text else ""
    site = site_of(f"x@{text}")
    if not site or len(site) > MAX_ADDRESS:
        raise InvalidAddress("a scope is a domain or an address of a sender", scope=text[:100])
    return site


def _folded(address: str) -> str:
    address = address.strip().lower()
    local, _, domain = address.rpartition("@")
    if not local or not domain or len(address) > MAX_ADDRESS or not address.isprintable() or " " in address:
        raise InvalidAddress("an address is such as bob@example.net", address=address[:100])
    return address


def _suppression(row: Row) -> Suppression:
    return Suppression(row["address"], row["scope"], row["source"], row["reason"], row["since"], row["until"])
