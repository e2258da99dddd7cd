"""What IMAP numbers: the entries of a mailbox, those changed since a modseq, and the UIDs that vanished."""

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_model.errors import AccountMoving, AccountNotFound, CannotCalculateChanges, MailboxNotFound
from posthorn_model.ids import AccountId, MailboxId, Modseq, Uid
from posthorn_model.mail import Entry, Mailbox
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.database.plans import later_than
from posthorn_storage.mail.flags import flags_of
from posthorn_storage.mail.kinds import VANISHED
from posthorn_storage.mail.mailboxes import COLUMNS, mailbox_of

ELSEWHERE = 2
"""The state of a counter whose account lives on another shard by now."""

COUNTER = "SELECT modseq AS highest, horizon, state FROM account_counter WHERE account_id = $1"

UIDS = """
SELECT array_agg(uid) FROM (
    SELECT uid FROM mailbox_message WHERE account_id = $1 AND mailbox_id = $2 ORDER BY uid) AS ordered
"""

# A mailbox as a handful of arrays: a hundred thousand rows, each read by itself, would take four times as long.
_ENTRIES = """
SELECT array_agg(uid) AS uids, array_agg(message_id) AS messages, array_agg(flags) AS flags,
    array_agg(modseq) AS modseqs, array_agg(uid) FILTER (WHERE cardinality(keywords) > 0) AS worded,
    array_agg(array_to_string(keywords, ' ')) FILTER (WHERE cardinality(keywords) > 0) AS words
FROM (
    SELECT uid, message_id, flags, keywords, modseq FROM {which}
    ORDER BY uid) AS ordered
"""
_HELD = "mailbox_message WHERE account_id = $1 AND mailbox_id = $2"
ENTRIES = _ENTRIES.format(which=_HELD)
# Two orders, so that the latest are looked for by modseq: in the order of UIDs the whole mailbox might be read.
CHANGED = _ENTRIES.format(
    which=f"(SELECT * FROM {_HELD} AND {later_than('$3')} ORDER BY modseq OFFSET 0) AS latest"  # noqa: S608
)

_GONE = f"""
SELECT array_agg(uid ORDER BY uid) AS gone FROM change_log
WHERE account_id = $1 AND container_id = $2 AND {later_than("$3")} AND kind = $4::smallint
"""  # noqa: S608  constants only
_MAILBOX = f"SELECT {COLUMNS} FROM mailbox WHERE account_id = $1 AND id = $2"  # noqa: S608
_AT = f"FROM account_counter c LEFT JOIN LATERAL ({_MAILBOX}) AS box ON true"
BOXES = f"""
SELECT c.modseq AS highest, c.horizon, c.state, box.*
FROM account_counter c LEFT JOIN LATERAL (SELECT {COLUMNS} FROM mailbox WHERE account_id = $1) AS box ON true
WHERE c.account_id = $1 ORDER BY sort_order, name, id
"""  # noqa: S608
SNAPSHOT = f"SELECT c.modseq AS highest, c.horizon, c.state, box.* {_AT} WHERE c.account_id = $1"
WHOLE = f"""
SELECT c.modseq AS highest, c.horizon, c.state, box.*, entries.* {_AT} LEFT JOIN LATERAL ({ENTRIES}) AS entries ON true
WHERE c.account_id = $1
"""
SINCE = f"""
SELECT c.modseq AS highest, c.horizon, c.state, box.*, entries.*, gone.gone {_AT}
LEFT JOIN LATERAL ({CHANGED}) AS entries ON true
LEFT JOIN LATERAL ({_GONE}) AS gone ON true
WHERE c.account_id = $1
"""

DELETED_SIZE = """
SELECT coalesce(sum(size), 0)::bigint FROM mailbox_message WHERE account_id = $1 AND mailbox_id = $2 AND flags & 8 <> 0
"""
QUOTAS = "SELECT account_id, used_bytes, quota FROM account_counter WHERE account_id = ANY ($1::bigint[])"
MODSEQS = "SELECT account_id, modseq FROM account_counter WHERE account_id = ANY ($1::bigint[]) AND state <> 2"
MAILBOX_MODSEQS = "SELECT id, modseq FROM mailbox WHERE account_id = $1"

# The counter is locked by every change, not by this: recent_uid is nobody's state but the next session's. Where it has
# nothing to take, nothing is locked either, since that is written to the log, and the disk would be waited for. Who
# finds that another session took them while it waited for the lock has nothing to take.
TAKE_RECENT = """
WITH before AS (
    SELECT recent_uid FROM mailbox WHERE account_id = $1 AND id = $2 AND recent_uid < uidnext FOR NO KEY UPDATE
), taken AS (
    UPDATE mailbox SET recent_uid = uidnext FROM before WHERE account_id = $1 AND id = $2 RETURNING before.recent_uid
)
SELECT coalesce((SELECT recent_uid FROM taken), uidnext) FROM mailbox WHERE account_id = $1 AND id = $2
"""


@dataclass(frozen=True, slots=True)
class MailboxView:
    """A mailbox as it was at one instant, or what became of it since a modseq."""

    mailbox: Mailbox
    modseq: Modseq
    """The account's."""
    entries: list[Entry]
    """All of them, or those that are new or changed; ascending by UID."""
    expunged: list[Uid]
    """UIDs that vanished since; empty for a whole view."""


async def uids(database: Connection | Database, account: AccountId, mailbox: MailboxId) -> list[Uid]:
    """All UIDs of a mailbox, ascending; none when it is not there."""
    return await database.fetchval(UIDS, account, mailbox) or []


async def entries(connection: Connection | Database, account: AccountId, mailbox: MailboxId, since: int) -> list[Entry]:
    """Entries by ascending UID: all (`since` 0), or those with a later modseq."""
    if since:
        return _entries_of(await connection.fetchrow(CHANGED, account, mailbox, since))
    return _entries_of(await connection.fetchrow(ENTRIES, account, mailbox))


def _entries_of(row: Row) -> list[Entry]:
    """The entries in a row with the columns of ENTRIES."""
    bits = row["flags"] or ()
    plain = {system: flags_of(system, ()) for system in set(bits)}
    shown = [plain[system] for system in bits]
    if row["worded"]:
        words = dict(zip(row["worded"], row["words"], strict=True))
        for place, uid in enumerate(row["uids"]):
            if uid in words:
                shown[place] = flags_of(bits[place], tuple(words[uid].split()))
    return list(map(Entry, row["uids"] or (), row["messages"] or (), shown, row["modseqs"] or ()))


async def expunged(database: Database, account: AccountId, mailbox: MailboxId, since: int) -> list[Uid]:
    """UIDs that vanished after `since`. Raises CannotCalculateChanges behind the horizon, MailboxNotFound."""
    return (await view(database, account, mailbox, Modseq(since))).expunged


async def state(
    connection: Connection | Database, account: AccountId, since: int | None = None, *, quiet: bool = False
) -> Modseq:
    """The account's modseq. Raises AccountNotFound, AccountMoving (it lives elsewhere by now), and
    CannotCalculateChanges when `since` is out of reach.

    `quiet`: nothing happened after `since` to what the caller looks at, so that the horizon does not matter.
    """
    return reached(await connection.fetchrow(COUNTER, account), account, since, quiet=quiet)


def reached(row: Row | None, account: AccountId, since: int | None = None, *, quiet: bool = False) -> Modseq:
    """The account's modseq, from a row with the columns of COUNTER. Raises as `state` does."""
    if row is None:
        raise AccountNotFound(account=account)
    if row["state"] == ELSEWHERE:
        raise AccountMoving(account=account)
    if since is not None and (since > row["highest"] or (since < row["horizon"] and not quiet)):
        raise CannotCalculateChanges(account=account, since=since, horizon=row["horizon"])
    return Modseq(row["highest"])


async def view(database: Database, account: AccountId, mailbox: MailboxId, since: Modseq | None) -> MailboxView:
    """One consistent view: the whole mailbox (`since` None), or what changed after the modseq of an earlier view.

    One statement, hence one snapshot. Raises MailboxNotFound, AccountNotFound, CannotCalculateChanges.
    """
    if since is None:
        row = _found(await database.fetchrow(WHOLE, account, mailbox), account, mailbox)
        return MailboxView(mailbox_of(row), reached(row, account), _entries_of(row), [])
    row = _found(await database.fetchrow(SINCE, account, mailbox, since, VANISHED), account, mailbox)
    modseq = reached(row, account, since, quiet=row["modseq"] <= since)
    return MailboxView(mailbox_of(row), modseq, _entries_of(row), row["gone"] or [])


def _found(row: Row | None, account: AccountId, mailbox: MailboxId) -> Row:
    """The row, if its account lives here and has the mailbox."""
    reached(row, account)
    if row is None or row["id"] is None:
        raise MailboxNotFound(account=account, mailbox=mailbox)
    return row


async def modseqs(database: Database, accounts: Sequence[AccountId]) -> dict[AccountId, Modseq]:
    """The modseq of each account, in one query; unknown accounts are left out."""
    return {row["account_id"]: row["modseq"] for row in await database.fetch(MODSEQS, accounts)}


async def mailbox_modseqs(database: Database, account: AccountId) -> dict[MailboxId, Modseq]:
    """The modseq of each mailbox."""
    return {row["id"]: row["modseq"] for row in await database.fetch(MAILBOX_MODSEQS, account)}


async def snapshot(database: Database, account: AccountId, mailbox: MailboxId) -> tuple[Mailbox, Modseq]:
    """A mailbox and the account's modseq at the same instant. Raises MailboxNotFound, AccountNotFound."""
    row = _found(await database.fetchrow(SNAPSHOT, account, mailbox), account, mailbox)
    return mailbox_of(row), reached(row, account)


async def mailboxes(database: Database, account: AccountId) -> tuple[list[Mailbox], Modseq]:
    """Every mailbox, by sort order and name, and the account's modseq at the same instant. Raises AccountNotFound."""
    rows = await database.fetch(BOXES, account)
    modseq = reached(rows[0] if rows else None, account)
    return [mailbox_of(row) for row in rows if row["id"] is not None], modseq


async def take_recent(database: Database, account: AccountId, mailbox: MailboxId) -> Uid:
    """The first UID no session has seen; it is uidnext afterwards. Raises MailboxNotFound."""
    found = await database.fetchval(TAKE_RECENT, account, mailbox)
    if found is None:
        raise MailboxNotFound(account=account, mailbox=mailbox)
    return Uid(found)


async def deleted_size(database: Database, account: AccountId, mailbox: MailboxId) -> int:
    """Octets of the messages with \\Deleted."""
    return int(await database.fetchval(DELETED_SIZE, account, mailbox))


def quota(row: Row | None, account: AccountId) -> tuple[int, int, int | None]:
    """Used bytes, number of messages, limit in bytes or None, of a counter. Raises AccountNotFound without one."""
    if row is None:
        raise AccountNotFound(account=account)
    return row["used_bytes"], row["used_messages"], row["quota"]


async def quotas(database: Database, accounts: Sequence[AccountId]) -> dict[AccountId, tuple[int, int | None]]:
    """Used bytes and limit of each account, in one query; unknown accounts are left out."""
    return {row["account_id"]: (row["used_bytes"], row["quota"]) for row in await database.fetch(QUOTAS, accounts)}
