"""Push subscriptions as their clients see them (RFC 8620 7.2): made, verified, prolonged, destroyed; few of an account.

They lie where their account lives, beside its modseq. A client's secret is sealed, and never shown again. Nothing is
pushed from here: that is the work of posthorn_storage.push.sending, under the lease of a role.
"""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from posthorn_model.errors import InvalidContent, NotFound, OverQuota
from posthorn_model.ids import AccountId
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.database import Row, affected
from posthorn_storage.mail.journal import Journal
from posthorn_storage.push import vapid_key
from posthorn_storage.push.sending import PushTasks, about
from posthorn_storage.push.vapid_key import VapidKey
from posthorn_storage.shards import Shards

MOST_SECONDS: Final = 7 * 86_400.0
"""A subscription that its client does not prolong ends after this (RFC 8620 7.2: at least 48 hours)."""

ALL = "SELECT * FROM push_subscription WHERE account_id = $1 AND expires_at > now() ORDER BY id"
ENDED = "DELETE FROM push_subscription WHERE account_id = $1 AND expires_at <= now()"
COUNT = "SELECT count(*) FROM push_subscription WHERE account_id = $1"
NEXT = "SELECT nextval(pg_get_serial_sequence('push_subscription', 'id'))"

# To the second, as JMAP tells times.
_UNTIL = "date_trunc('second', least(coalesce($3::timestamptz, 'infinity'), now() + make_interval(secs => $4)))"
ADD = f"""
INSERT INTO push_subscription
    (account_id, id, expires_at, device_client_id, url, p256dh, sealed_auth, code, types, pushed_modseq)
VALUES ($1, $2, {_UNTIL}, $5, $6, $7, $8, $9, $10, $11) RETURNING *
"""  # noqa: S608  constants only
ONE = "SELECT * FROM push_subscription WHERE account_id = $1 AND id = $2 AND expires_at > now() FOR UPDATE"
CHANGE = f"""
UPDATE push_subscription SET expires_at = CASE WHEN $5 THEN {_UNTIL} ELSE expires_at END, types = $6, verified = $7
WHERE account_id = $1 AND id = $2 RETURNING *
"""  # noqa: S608  constants only
DELETE = "DELETE FROM push_subscription WHERE account_id = $1 AND id = $2 AND expires_at > now()"

SEALED = "SELECT account_id, id, sealed_auth FROM push_subscription WHERE sealed_auth IS NOT NULL"
RESEAL = """
UPDATE push_subscription SET sealed_auth = $4 WHERE account_id = $1 AND id = $2 AND sealed_auth = $3
"""


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """What a client subscribes to. `keys` are its public key and its secret (RFC 8291); None: nothing is encrypted."""

    device_client_id: str
    url: str = field(repr=False)
    keys: tuple[bytes, bytes] | None = field(default=None, repr=False)
    types: tuple[str, ...] | None = None
    """None: all."""
    expires: datetime | None = None
    """None: as late as may be."""


@dataclass(frozen=True, slots=True)
class PushSubscription:
    """A stored subscription, without what it must not show."""

    id: int
    device_client_id: str
    verified: bool
    code: str = field(repr=False)
    """To be shown only once it is verified."""
    types: tuple[str, ...] | None
    expires: datetime


class PushStore:
    """See the module. All methods raise Unavailable, Overloaded."""

    def __init__(self, shards: Shards, keys: KeyRing) -> None:
        self._shards = shards
        self._keys = keys

    @property
    def usable(self) -> bool:
        """Whether secrets can be sealed; nothing can be pushed otherwise."""
        return self._keys.usable

    async def all(self, account: AccountId) -> Sequence[PushSubscription]:
        """Those of an account, the oldest first."""
        return [_subscription(row) for row in await (await self._shards.reading(account)).fetch(ALL, account)]

    async def add(self, account: AccountId, new: NewSubscription, limit: int) -> PushSubscription:
        """Store one; the job sends it its verification code. Raises OverQuota, SecretMissing, AccountNotFound."""

        async def work(journal: Journal) -> PushSubscription:
            connection = journal.connection
            await connection.execute(ENDED, account)
            if await connection.fetchval(COUNT, account) >= limit:
                raise OverQuota(f"an account has at most {limit} push subscriptions", account=account)
            number = await connection.fetchval(NEXT)
            public, sealed = None, None
            if new.keys is not None:
                public, sealed = new.keys[0], self._keys.seal(new.keys[1], about(account, number))
            row = await connection.fetchrow(
                ADD,
                account,
                number,
                new.expires,
                MOST_SECONDS,
                new.device_client_id,
                new.url,
                public,
                sealed,
                secrets.token_urlsafe(16),
                new.types,
                journal.counters[account].modseq,
            )
            assert row is not None
            return _subscription(row)

        return await self._shards.change(account, work)

    async def change(
        self,
        account: AccountId,
        number: int,
        *,
        code: str | None = None,
        expires: tuple[datetime | None] | None = None,
        types: tuple[tuple[str, ...] | None] | None = None,
    ) -> PushSubscription:
        """Change what is given, each in a tuple where it may be None itself: `expires` as late as may be, all `types`.

        Raises NotFound; InvalidContent, and nothing is changed, when `code` is not the one that was pushed.
        """

        async def work(journal: Journal) -> PushSubscription:
            row = await journal.connection.fetchrow(ONE, account, number)
            if row is None:
                raise NotFound("no such push subscription", account=account)
            if code is not None and not hmac.compare_digest(code.encode(), row["code"].encode()):
                raise InvalidContent("that is not the code that was pushed", account=account)
            changed = await journal.connection.fetchrow(
                CHANGE,
                account,
                number,
                None if expires is None else expires[0],
                MOST_SECONDS,
                expires is not None,
                row["types"] if types is None else types[0],
                row["verified"] or code is not None,
            )
            assert changed is not None
            return _subscription(changed)

        return await self._shards.change(account, work)

    async def remove(self, account: AccountId, number: int) -> None:
        """Destroy one. Raises NotFound."""

        async def work(journal: Journal) -> int:
            return affected(await journal.connection.execute(DELETE, account, number))

        if not await self._shards.change(account, work):
            raise NotFound("no such push subscription", account=account)

    async def vapid_key(self) -> VapidKey:
        """What pushes are signed with; made now if there is none. Raises SecretMissing, WrongSecret."""
        return await vapid_key.vapid_key(self._shards.home.database, self._keys)

    def tasks(self) -> dict[str, PushTasks]:
        """What is to be pushed, by the name of the shard."""
        return {
            shard.name: PushTasks(shard.pools.maintenance, self._keys, home=shard.is_home) for shard in self._shards
        }

    async def reseal(self) -> int:
        """Seal under the current secret what is sealed under a former one; returns how many were. Repeatable.

        Raises WrongSecret when one is sealed under a secret that is not among those given.
        """
        count = await vapid_key.reseal(self._shards.home.database, self._keys)
        for shard in self._shards:
            for row in await shard.database.fetch(SEALED):
                account, number, sealed = row
                if not self._keys.is_current(sealed):
                    plain = self._keys.open(sealed, about(account, number))
                    again = self._keys.seal(plain, about(account, number))
                    count += await shard.database.execute(RESEAL, account, number, sealed, again)
        return count


def _subscription(row: Row) -> PushSubscription:
    types = row["types"]
    return PushSubscription(
        id=row["id"],
        device_client_id=row["device_client_id"],
        verified=row["verified"],
        code=row["code"],
        types=None if types is None else tuple(types),
        expires=row["expires_at"],
    )
