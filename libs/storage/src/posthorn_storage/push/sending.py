"""What is to be pushed on one database, and what came of it: every write under the lease of who pushes (law 5).

A subscription is behind while its account's modseq is higher than what was pushed to it; nothing else has to be
remembered, so nothing can be lost: whoever pushes next finds the same. A push that was not noted is repeated, which is
harmless. Accounts that are on their way to another database, or live there, are left alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from posthorn_model.errors import LeaseLost, WrongSecret
from posthorn_model.events import PUSHED, ChangeKind
from posthorn_model.ids import AccountId, Modseq
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.codes import CREATED
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.leases import Fence
from posthorn_storage.mail.journal import columns_of
from posthorn_storage.mail.kinds import EMAIL, KIND

MAX_PROBLEM: Final = 300
LOGGED: Final = tuple(kind for kind in PUSHED if kind is not ChangeKind.EMAIL_DELIVERY)
"""Kinds that the change log has rows of; EmailDelivery is that an Email was created (RFC 8621 1.5)."""

# Behind the horizon the log does not say any more what changed: then everything did.
DUE = f"""
SELECT s.account_id, s.id, s.url, s.p256dh, s.sealed_auth, s.code, s.verified, s.types, s.failures, c.modseq,
    ARRAY(SELECT k FROM unnest($5::smallint[]) AS k WHERE c.horizon > s.pushed_modseq OR EXISTS (
        SELECT FROM change_log l
        WHERE l.account_id = s.account_id AND l.kind = k AND l.modseq > s.pushed_modseq)) AS kinds,
    c.horizon > s.pushed_modseq OR EXISTS (
        SELECT FROM change_log l
        WHERE l.account_id = s.account_id AND l.kind = {EMAIL} AND l.modseq > s.pushed_modseq AND l.op = {CREATED}
    ) AS delivered
FROM push_subscription s JOIN account_counter c ON c.account_id = s.account_id AND c.state = 0
WHERE mod(s.account_id, $1::int) = $2::int AND s.due <= now() AND s.expires_at > now()
    AND ($3::bigint[] IS NULL OR s.account_id = ANY ($3)) AND NOT (s.id = ANY ($6::bigint[]))
    AND CASE WHEN s.verified THEN c.modseq > s.pushed_modseq ELSE NOT s.greeted END
ORDER BY s.due, s.account_id, s.id LIMIT $4
"""  # noqa: S608  constants only

SETTLE = """
UPDATE push_subscription s SET
    pushed_modseq = greatest(s.pushed_modseq, n.modseq),
    pushed_at = CASE WHEN n.pushed THEN now() ELSE s.pushed_at END,
    greeted = s.greeted OR n.greeted,
    failures = CASE WHEN n.problem IS NULL THEN 0 ELSE least(s.failures + 1, 32000) END,
    problem = n.problem,
    due = now() + make_interval(secs => n.pause),
    epoch = $1
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bool[], $6::bool[], $7::text[], $8::float8[])
    AS n (account_id, id, modseq, pushed, greeted, problem, pause)
JOIN account_counter c ON c.account_id = n.account_id AND c.state = 0
WHERE s.account_id = n.account_id AND s.id = n.id
"""

GONE = """
DELETE FROM push_subscription s USING unnest($1::bigint[], $2::bigint[]) AS n (account_id, id)
JOIN account_counter c ON c.account_id = n.account_id AND c.state = 0
WHERE s.account_id = n.account_id AND s.id = n.id
"""

COUNTS = """
SELECT count(*) AS all, count(*) FILTER (WHERE s.verified AND c.modseq > s.pushed_modseq) AS behind
FROM push_subscription s JOIN account_counter c ON c.account_id = s.account_id AND c.state = 0
WHERE mod(s.account_id, $1::int) = $2::int AND s.expires_at > now()
"""


@dataclass(frozen=True, slots=True)
class DuePush:
    """A push that is to be made: the verification code, or what changed up to `modseq`."""

    account: AccountId
    id: int
    url: str = field(repr=False)
    keys: tuple[bytes, bytes] | None = field(repr=False)
    """The client's public key and secret."""
    code: str = field(repr=False)
    verified: bool
    """If not, the code is to be pushed."""
    modseq: Modseq
    kinds: tuple[ChangeKind, ...]
    """That changed, and that the client asked for; none: nothing is to be told."""
    failures: int
    """In a row before."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a push."""

    account: AccountId
    id: int
    modseq: int = 0
    """Changes up to here need no further push."""
    pushed: bool = False
    greeted: bool = False
    problem: str | None = None
    pause: float = 0.0
    """Seconds for which nothing is pushed."""
    gone: bool = False
    """The push service says that there is nobody any more: the subscription goes."""


class PushTasks:
    """See the module. All methods raise Unavailable, Overloaded."""

    def __init__(self, database: Database, keys: KeyRing, *, home: bool) -> None:
        self._database = database
        self._keys = keys
        self._home = home

    async def due(
        self,
        limit: int,
        *,
        accounts: Collection[AccountId] | None = None,
        without: Collection[int] = (),
        part: int = 0,
        parts: int = 1,
    ) -> tuple[list[DuePush], list[Outcome]]:
        """Up to `limit` subscriptions that are behind, longest due first: all, or those of `accounts`.

        `without` are being pushed to now. What cannot be opened comes as outcomes that only have to be settled.
        """
        some = None if accounts is None else list(accounts)
        kinds = [KIND[kind] for kind in LOGGED]
        found, settled = [], []
        for row in await self._database.fetch(DUE, parts, part, some, limit, kinds, list(without)):
            try:
                found.append(self._push(row))
            except WrongSecret as error:
                settled.append(Outcome(row["account_id"], row["id"], problem=error.public, pause=3600.0))
        return found, settled

    async def settle(self, fence: Fence, outcomes: Sequence[Outcome]) -> None:
        """Note outcomes, in one transaction. Raises LeaseLost, and nothing is noted."""
        kept = [
            (each.account, each.id, each.modseq, each.pushed, each.greeted, _told(each.problem), each.pause)
            for each in outcomes
            if not each.gone
        ]
        gone = [(each.account, each.id) for each in outcomes if each.gone]

        async def work(connection: Connection) -> bool:
            if not await (fence.hold(connection) if self._home else fence.hold_away(connection)):
                return False
            if kept:
                await connection.execute(SETTLE, fence.epoch, *columns_of(kept, 7))
            if gone:
                await connection.execute(GONE, *columns_of(gone, 2))
            return True

        if outcomes and not await self._database.run(work):
            raise LeaseLost(f"{fence.key} has another epoch by now", key=fence.key, epoch=fence.epoch)

    async def counts(self, *, part: int = 0, parts: int = 1) -> tuple[int, int]:
        """How many subscriptions there are, and how many of them are behind."""
        row = await self._database.fetchrow(COUNTS, parts, part)
        assert row is not None
        return row["all"], row["behind"]

    def _push(self, row: Row) -> DuePush:
        keys = None
        if row["p256dh"] is not None:
            keys = row["p256dh"], self._keys.open(row["sealed_auth"], about(row["account_id"], row["id"]))
        changed: set[ChangeKind] = {kind for kind in LOGGED if KIND[kind] in row["kinds"]}
        if row["delivered"]:
            changed.add(ChangeKind.EMAIL_DELIVERY)
        wanted = PUSHED if row["types"] is None else [kind for kind in PUSHED if kind.value in row["types"]]
        return DuePush(
            account=AccountId(row["account_id"]),
            id=row["id"],
            url=row["url"],
            keys=keys,
            code=row["code"],
            verified=row["verified"],
            modseq=Modseq(row["modseq"]),
            kinds=tuple(kind for kind in wanted if kind in changed),
            failures=row["failures"],
        )


def about(account: int, number: int) -> str:
    """What a sealed secret says of itself."""
    return f"push subscription {account} {number}"


def _told(problem: str | None) -> str | None:
    return None if problem is None else problem.replace("\0", "")[:MAX_PROBLEM]
