"""What is ordered of authorities (RFC 8555): accounts, orders under way and the answers to their challenges.

Everything a new holder of `acme.renew` needs to go on where the last one died. Every write carries the lease; what is
secret is sealed. It speaks with no authority.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from posthorn_model.errors import LeaseLost, NotFound
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.database import Database, Row
from posthorn_storage.leases import Fence

MAX_PROBLEM: Final = 1000

_FENCE = "(SELECT FROM lease WHERE key = $1 AND epoch = $2 FOR SHARE)"

ACCOUNT = "SELECT * FROM acme_account WHERE provider = $1 AND directory = $2"
PUT_ACCOUNT = f"""
INSERT INTO acme_account (provider, directory, sealed_key, url) SELECT $3, $4, $5, $6 FROM {_FENCE} AS held
ON CONFLICT (provider, directory) DO UPDATE SET url = EXCLUDED.url, sealed_key = EXCLUDED.sealed_key
"""  # noqa: S608  constants only

ORDER = "SELECT *, due > now() AS waits, coalesce(renew_at <= now(), false) AS wished FROM acme_order WHERE name = $1"
ORDERS = "SELECT *, due > now() AS waits, coalesce(renew_at <= now(), false) AS wished FROM acme_order ORDER BY name"

BEGUN = f"""
INSERT INTO acme_order AS o (name, domains, url, sealed_key, epoch)
SELECT $3, $4, $5, $6, $2 FROM {_FENCE} AS held
ON CONFLICT (name) DO UPDATE SET
    domains = EXCLUDED.domains, url = EXCLUDED.url, sealed_key = EXCLUDED.sealed_key, epoch = EXCLUDED.epoch
"""  # noqa: S608  constants only

FAILED = f"""
INSERT INTO acme_order AS o (name, domains, epoch, failures, problem, problem_at, due)
SELECT $3, '{{}}', $2, 1, $4, now(), now() + make_interval(secs => $5) FROM {_FENCE} AS held
ON CONFLICT (name) DO UPDATE SET
    url = CASE WHEN $6 THEN NULL ELSE o.url END, sealed_key = CASE WHEN $6 THEN NULL ELSE o.sealed_key END,
    failures = least(o.failures + 1, 32000), problem = EXCLUDED.problem, problem_at = now(), due = EXCLUDED.due,
    epoch = EXCLUDED.epoch
"""  # noqa: S608  constants only

DONE = f"""
UPDATE acme_order SET
    url = NULL, sealed_key = NULL, failures = 0, due = now(), renew_at = NULL, ask_at = NULL, epoch = $2
FROM {_FENCE} AS held WHERE name = $3
"""  # noqa: S608  constants only

ADVISED = f"""
INSERT INTO acme_order AS o (name, domains, epoch, renew_at, ask_at)
SELECT $3, '{{}}', $2, $4, now() + make_interval(secs => $5) FROM {_FENCE} AS held
ON CONFLICT (name) DO UPDATE SET renew_at = EXCLUDED.renew_at, ask_at = EXCLUDED.ask_at, epoch = EXCLUDED.epoch
"""  # noqa: S608  constants only

# The operator's wish: it needs no lease, and ends a pause after failures.
WISHED = """
INSERT INTO acme_order AS o (name, domains, epoch, renew_at) SELECT name, '{}', 0, now() FROM certificate
WHERE name = $1 AND source = 'acme'
ON CONFLICT (name) DO UPDATE SET renew_at = now(), due = now()
"""
WISHED_AGAIN = "UPDATE acme_order SET renew_at = now(), due = now() WHERE name = $1"

PUT_CHALLENGES = f"""
INSERT INTO acme_challenge (kind, key, order_name, content, expires_at)
SELECT $3, k, $4, c, now() + make_interval(secs => $7) FROM {_FENCE} AS held, unnest($5::text[], $6::text[]) AS u (k, c)
ON CONFLICT (kind, key) DO UPDATE SET
    order_name = EXCLUDED.order_name, content = EXCLUDED.content, expires_at = EXCLUDED.expires_at
"""  # noqa: S608  constants only
CHALLENGE = "SELECT content FROM acme_challenge WHERE kind = $1 AND key = $2 AND expires_at > now()"
REMOVE_CHALLENGES = "DELETE FROM acme_challenge WHERE order_name = $1 OR expires_at < now()"


@dataclass(frozen=True, slots=True)
class AcmeAccount:
    """An account with an authority; `url` is empty until the authority has made it."""

    key: bytes = field(repr=False)
    url: str


@dataclass(frozen=True, slots=True)
class AcmeOrder:
    """Where the certificate `name` is on its way."""

    name: str
    domains: tuple[str, ...]
    """Of the order that is under way."""
    url: str | None
    """Of the order that is under way."""
    key: bytes | None = field(repr=False)
    """The certificate's, in PEM."""
    failures: int
    """In a row."""
    problem: str | None
    """What went wrong last."""
    problem_at: datetime | None
    due: datetime
    waits: bool
    """It is not tried before `due`."""
    renew_at: datetime | None
    """When the authority advises to renew (RFC 9773), or somebody asked for it."""
    ask_at: datetime | None
    """When the authority is to be asked again."""
    wished: bool
    """`renew_at` has come."""


class OrderStore:
    """All methods raise Unavailable, Overloaded; those with a fence raise LeaseLost when it does not hold any more."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys

    async def account(self, provider: str, directory: str) -> AcmeAccount | None:
        """The account with this authority. Raises SecretMissing, WrongSecret."""
        row = await self._database.fetchrow(ACCOUNT, provider, directory)
        if row is None:
            return None
        return AcmeAccount(self._keys.open(row["sealed_key"], f"account {provider} {directory}"), row["url"])

    async def put_account(self, fence: Fence, provider: str, directory: str, account: AcmeAccount) -> None:
        """Keep an account. Raises SecretMissing."""
        sealed = self._keys.seal(account.key, f"account {provider} {directory}")
        await self._write(PUT_ACCOUNT, fence, provider, directory, sealed, account.url)

    async def order(self, name: str) -> AcmeOrder | None:
        """What is known of this certificate's orders. Raises SecretMissing, WrongSecret."""
        row = await self._database.fetchrow(ORDER, name)
        return None if row is None else self._order(row)

    async def problems(self) -> Mapping[str, tuple[str, datetime]]:
        """What went wrong last, and when it is tried again, of each certificate whose last attempt failed."""
        rows = await self._database.fetch(ORDERS)
        return {row["name"]: (row["problem"], row["due"]) for row in rows if row["failures"]}

    async def begun(self, fence: Fence, name: str, domains: Sequence[str], key: bytes, url: str | None) -> None:
        """An order is about to be placed (`url` None), or was. Raises SecretMissing."""
        await self._write(BEGUN, fence, name, list(domains), url, self._keys.seal(key, f"order {name}"))

    async def failed(self, fence: Fence, name: str, problem: str, pause: float, *, abandon: bool) -> None:
        """Try again in `pause` seconds; `abandon`: the order that is under way is dead."""
        text = problem.replace("\0", "")[:MAX_PROBLEM]
        await self._write(FAILED, fence, name, text, float(pause), abandon)

    async def done(self, fence: Fence, name: str) -> None:
        """The order has led to a certificate."""
        await self._write(DONE, fence, name)

    async def advised(self, fence: Fence, name: str, renew_at: datetime | None, again: float) -> None:
        """The authority says when to renew (None: nothing), and wants to be asked again in `again` seconds."""
        await self._write(ADVISED, fence, name, renew_at, float(again))

    async def wish(self, name: str) -> None:
        """Have the certificate renewed as soon as its turn comes. Raises NotFound when none was ever ordered."""
        if not await self._database.execute(WISHED_AGAIN, name) and not await self._database.execute(WISHED, name):
            raise NotFound(f"no certificate of the name {name} was ordered by ACME", name=name)

    async def put_challenges(
        self, fence: Fence, kind: str, name: str, answers: Mapping[str, str], lifetime: float
    ) -> None:
        """Have every node answer: content by token (http-01) or by host name (tls-alpn-01)."""
        await self._write(PUT_CHALLENGES, fence, kind, name, list(answers), list(answers.values()), float(lifetime))

    async def challenge(self, kind: str, key: str) -> str | None:
        """What to answer to a challenge that is under way."""
        found = await self._database.fetchval(CHALLENGE, kind, key)
        return None if found is None else str(found)

    async def remove_challenges(self, name: str) -> None:
        """Those of one certificate, and all that nobody asks for any more."""
        await self._database.execute(REMOVE_CHALLENGES, name)

    async def _write(self, statement: str, fence: Fence, *arguments: object) -> None:
        if not await self._database.execute(statement, fence.key, fence.epoch, *arguments):
            raise LeaseLost(f"{fence.key} has another epoch by now", key=fence.key, epoch=fence.epoch)

    def _order(self, row: Row) -> AcmeOrder:
        sealed = row["sealed_key"]
        return AcmeOrder(
            name=row["name"],
            domains=tuple(row["domains"]),
            url=row["url"],
            key=None if sealed is None else self._keys.open(sealed, f"order {row['name']}"),
            failures=row["failures"],
            problem=row["problem"],
            problem_at=row["problem_at"],
            due=row["due"],
            waits=row["waits"],
            renew_at=row["renew_at"],
            ask_at=row["ask_at"],
            wished=row["wished"],
        )
