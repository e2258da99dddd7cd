"""The record of one changing unit of work: locks counters first, hands out modseqs and UIDs, writes the log last.

Every transaction that changes something of an account begins with `Units.begin` and ends with `Journal.flush` (law 4).
The lock is a statement of its own: under READ COMMITTED each later statement then sees all that earlier holders did.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from posthorn_model.errors import AccountMoving, AccountNotFound, MailboxNotFound, OverQuota, PosthornError
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.ids import AccountId, Modseq
from posthorn_storage.codes import COUNTED
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.database.plans import one_plan
from posthorn_storage.database.succession import Succession
from posthorn_storage.mail.identifiers import MessageIds
from posthorn_storage.mail.kinds import MAILBOX, NAMED

T = TypeVar("T")
Notify = Callable[[Changed], None]
_COUNTED = frozenset({NAMED[MAILBOX]})

LOCK = one_plan("""
SELECT account_id, modseq, used_bytes, used_messages, uidvalidity, quota, state FROM account_counter
WHERE account_id = ANY ($1::bigint[])
ORDER BY account_id
FOR NO KEY UPDATE
""")

MAILBOXES = one_plan("""
SELECT account_id, id, uidvalidity, uidnext, role = 'inbox' AS is_inbox FROM mailbox
WHERE account_id = ANY ($1::bigint[]) AND (id = ANY ($2::bigint[]) OR role = 'inbox')
""")

# The arrays that `Journal.columns` gives. `guard` may hold everything back (see posthorn_storage.mail.append_sql).
_FLUSH = """
counters AS (
    UPDATE account_counter c
    SET modseq = n.modseq, used_bytes = n.used_bytes, used_messages = n.used_messages, uidvalidity = n.uidvalidity
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS n (account_id, modseq, used_bytes, used_messages, uidvalidity)
    WHERE c.account_id = n.account_id {guard}
), touched AS MATERIALIZED (
    SELECT * FROM unnest($6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
                         $12::bigint[], $13::bigint[])
        AS n (account_id, id, total, unseen, deleted, size, taken, modseq)
    WHERE true {guard}
), counts AS (
    UPDATE mailbox m
    SET total = m.total + n.total, unseen = m.unseen + n.unseen, deleted = m.deleted + n.deleted,
        size = m.size + n.size, uidnext = m.uidnext + n.taken, modseq = n.modseq
    FROM touched n WHERE m.account_id = n.account_id AND m.id = n.id
), logged AS (
    INSERT INTO change_log (account_id, kind, modseq, object_id, op, container_id, uid, name)
    SELECT * FROM unnest($14::bigint[], $15::smallint[], $16::bigint[], $17::bigint[], $18::smallint[], $19::bigint[],
                         $20::bigint[], $21::text[])
        AS n (account_id, kind, modseq, object_id, op, container_id, uid, name)
    WHERE true {guard}
    UNION ALL
    SELECT account_id, {mailbox}, modseq, id, {counted}, NULL, NULL, NULL FROM touched
    WHERE total <> 0 OR unseen <> 0 OR taken <> 0 {more}
)
"""


def flush_sql(first: int = 1, guard: str = "", more: str = "") -> str:
    """The common table expressions that write a journal, their arrays numbered from `first`.

    `more` are further queries for the change log, each beginning with UNION ALL.
    """
    numbered = re.sub(r"\$(\d+)", lambda found: f"${int(found[1]) + first - 1}", _FLUSH)
    return numbered.format(guard=guard, more=more, mailbox=MAILBOX, counted=COUNTED)


FLUSH = one_plan(f"WITH {flush_sql()} SELECT 1")


@dataclass(slots=True)
class Counter:
    """An account's counter row while its lock is held; written back by `Journal.flush`."""

    account: AccountId
    modseq: int
    used_bytes: int
    used_messages: int
    uidvalidity: int
    quota: int | None
    kinds: set[ChangeKind] = field(default_factory=set)

    def take(self, count: int = 1) -> int:
        """Take `count` modseqs and return the first."""
        first = self.modseq + 1
        self.modseq += count
        return first

    def take_uidvalidity(self) -> int:
        """A UIDVALIDITY greater than any the account ever gave (RFC 9051 2.3.1.1)."""
        self.uidvalidity += 1
        return self.uidvalidity

    def charge(self, size: int, messages: int) -> None:
        """Count `size` more bytes and `messages` more messages; raises OverQuota. Negative numbers give back."""
        if size > 0 and self.quota is not None and self.used_bytes + size > self.quota:
            raise OverQuota(account=self.account)
        self.used_bytes += size
        self.used_messages += messages


@dataclass(slots=True)
class Place:
    """A mailbox while its account is locked: where new UIDs come from, and what is to be added to its counts."""

    account: AccountId
    id: int
    uidvalidity: int
    uidnext: int
    total: int = 0
    unseen: int = 0
    deleted: int = 0
    size: int = 0
    taken: int = 0
    touched: bool = False

    @property
    def counted(self) -> bool:
        """Whether what JMAP shows of it changes; FLUSH says the same."""
        return bool(self.total or self.unseen or self.taken)

    def take_uid(self) -> int:
        """Take the next UID."""
        uid = self.uidnext
        self.uidnext += 1
        self.taken += 1
        return uid

    def written(self) -> None:
        """What was counted is in the row: from now on there is nothing to add."""
        self.total = self.unseen = self.deleted = self.size = self.taken = 0
        self.touched = False

    def count(self, flags: int, size: int, sign: int) -> None:
        """Count a message with these system flags in (`sign` 1) or out (-1)."""
        self.total += sign
        self.size += sign * size
        self.unseen += 0 if flags & 1 else sign
        self.deleted += sign if flags & 8 else 0
        self.touched = True

    def recount(self, before: int, after: int) -> None:
        """Count a message whose system flags changed from `before` to `after`."""
        self.unseen += (before & 1) - (after & 1)
        self.deleted += ((after & 8) - (before & 8)) >> 3
        self.touched = True


class Journal:
    """One unit of work of one or several accounts; made by `Units.begin`."""

    def __init__(
        self,
        connection: Connection,
        counters: dict[AccountId, Counter],
        ids: MessageIds,
        moving: frozenset[AccountId] = frozenset(),
    ) -> None:
        self.connection = connection
        self.counters = counters
        self.ids = ids
        self._moving = moving
        self._places: dict[tuple[int, int], Place] = {}
        self._inboxes: dict[int, int] = {}
        self._log: list[tuple[int, int, int, int, int, int | None, int | None, str | None]] = []
        self._started = {account: counter.modseq for account, counter in counters.items()}
        self._written = dict(self._started)

    def absent(self, account: AccountId) -> PosthornError:
        """Why a tolerant unit of work has no counter of this account."""
        return AccountMoving(account=account) if account in self._moving else AccountNotFound(account=account)

    async def places(self, account: AccountId, mailboxes: Collection[int]) -> list[Place]:
        """The mailboxes in the asked-for order. Raises MailboxNotFound."""
        await self.load([account], mailboxes)
        return [self.place(account, mailbox) for mailbox in mailboxes]

    async def load(self, accounts: Collection[int], mailboxes: Collection[int]) -> None:
        """Read mailboxes of locked accounts, and their inboxes, in one statement; those not there are left out."""
        for row in await self.connection.fetch(MAILBOXES, list(accounts), list(set(mailboxes))):
            self.take_in(*row[:4], is_inbox=bool(row["is_inbox"]))

    def take_in(self, account: AccountId, mailbox: int, uidvalidity: int, uidnext: int, *, is_inbox: bool) -> None:
        """Note a mailbox that was read under the lock of its account."""
        if (account, mailbox) not in self._places:
            self._places[account, mailbox] = Place(account, mailbox, uidvalidity, uidnext)
        if is_inbox:
            self._inboxes[account] = mailbox

    def place(self, account: AccountId, mailbox: int) -> Place:
        """A mailbox that was loaded. Raises MailboxNotFound."""
        place = self._places.get((account, mailbox))
        if place is None:
            raise MailboxNotFound(account=account, mailbox=mailbox)
        return place

    def inbox(self, account: AccountId) -> Place:
        """The inbox of an account for which `load` was called."""
        return self.place(account, self._inboxes.get(account, 0))

    def adopt(self, place: Place) -> None:
        """Take in a mailbox that this unit of work created."""
        self._places[place.account, place.id] = place

    def forget(self, account: AccountId, mailbox: int) -> None:
        """Drop a mailbox that this unit of work deleted."""
        self._places.pop((account, mailbox), None)

    def log(
        self,
        account: AccountId,
        kind: int,
        op: int,
        object_id: int,
        modseq: int,
        *,
        container: int | None = None,
        uid: int | None = None,
        name: str | None = None,
    ) -> None:
        """Add one row to the change log."""
        self._log.append((account, kind, modseq, object_id, op, container, uid, name))
        if kind in NAMED:
            self.counters[account].kinds.add(NAMED[kind])

    async def flush(self) -> None:
        """Write counters, counts and log, if there are any; the last statement of the unit of work."""
        columns = self.columns()
        if any(columns):
            await self.connection.execute(FLUSH, *columns)

    def columns(self) -> list[Sequence[object]]:
        """The arrays of `flush_sql`. What they hold counts as written from now on."""
        touched = [place for place in self._places.values() if place.touched or place.taken]
        for place in touched:
            counter = self.counters[place.account]
            if counter.modseq == self._started[place.account]:
                counter.take()
            if place.counted:
                counter.kinds |= _COUNTED
        moved = [c for c in self.counters.values() if c.modseq != self._written[c.account]]
        found: list[Sequence[object]] = [
            [counter.account for counter in moved],
            [counter.modseq for counter in moved],
            [counter.used_bytes for counter in moved],
            [counter.used_messages for counter in moved],
            [counter.uidvalidity for counter in moved],
            [place.account for place in touched],
            [place.id for place in touched],
            [place.total for place in touched],
            [place.unseen for place in touched],
            [place.deleted for place in touched],
            [place.size for place in touched],
            [place.taken for place in touched],
            [self.counters[place.account].modseq for place in touched],
            *columns_of(self._log, 8),
        ]
        for place in touched:
            place.written()
        self._written.update((counter.account, counter.modseq) for counter in moved)
        self._log.clear()
        return found

    def changed(self) -> list[Changed]:
        """What to tell after the commit, one event for each account whose modseq moved."""
        return [
            Changed(counter.account, Modseq(counter.modseq), frozenset(counter.kinds))
            for counter in self.counters.values()
            if counter.modseq != self._started[counter.account]
        ]


class Units:
    """Runs units of work on one database: journal, commit, then word of it to whoever listens."""

    def __init__(self, database: Database, ids: MessageIds, notify: Notify) -> None:
        self.database = database
        self._ids = ids
        self._notify = notify

    async def begin(self, connection: Connection, accounts: Iterable[AccountId], *, tolerant: bool = False) -> Journal:
        """Lock the counters of `accounts` in id order. Raises AccountNotFound; a `tolerant` caller looks for itself.

        Raises AccountMoving when one of them is on its way to another shard, or lives there by now (flows.md F).
        """
        wanted = sorted(set(accounts))
        return self.journal(connection, await connection.fetch(LOCK, wanted), wanted, tolerant=tolerant)

    def journal(
        self, connection: Connection, rows: Iterable[Row], wanted: Iterable[AccountId], *, tolerant: bool
    ) -> Journal:
        """A journal over locked rows, which begin with the columns of LOCK. Raises as `begin` does."""
        counters: dict[AccountId, Counter] = {}
        moving: set[AccountId] = set()
        for row in rows:
            account, modseq, used_bytes, used_messages, uidvalidity, quota, state = row[:7]
            if state:
                moving.add(account)
            else:
                counters[account] = Counter(account, modseq, used_bytes, used_messages, uidvalidity, quota)
        journal = Journal(connection, counters, self._ids, frozenset(moving))
        for account in wanted:
            if account not in counters and not tolerant:
                raise journal.absent(account)
        return journal

    async def change(self, accounts: Sequence[AccountId], work: Callable[[Journal], Awaitable[T]]) -> T:
        """Run `work` under the locks of `accounts` as one transaction, repeated when PostgreSQL rolled it back."""

        async def unit(connection: Connection) -> tuple[T, Journal]:
            journal = await self.begin(connection, accounts)
            result = await work(journal)
            await journal.flush()
            return result, journal

        return await self.run(unit)

    async def run(
        self, unit: Callable[[Connection], Awaitable[tuple[T, Journal]]], succession: Succession | None = None
    ) -> T:
        """Run a unit of work that makes its journal itself as one transaction, and tell what it changed."""
        result, journal = await (succession or self.database).run(unit)
        self.announce(journal)
        return result

    def announce(self, journal: Journal) -> None:
        """Tell what a committed journal changed."""
        for event in journal.changed():
            self._notify(event)


def columns_of(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    """Rows of `width` values turned into arrays for unnest."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
