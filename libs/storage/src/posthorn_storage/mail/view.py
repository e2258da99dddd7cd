"""What IMAP numbers: the entries of a mailbox, those changed since a modseq, and the UIDs that vanished."""

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_model.errors import AccountMoving, AccountNotFound, CannotCalculateChanges, MailboxNotFound
from posthorn_model.ids import AccountId, MailboxId, Modseq, Uid
from posthorn_model.mail import Entry, Mailbox
from posthorn_storage.database import Connection, Database
from posthorn_storage.mail.flags import entry_of
from posthorn_storage.mail.kinds import VANISHED
from posthorn_storage.mail.mailboxes import one

ELSEWHERE = 2
"""The state of a counter whose account lives on another shard by now."""

COUNTER = "SELECT modseq, horizon, state FROM account_counter WHERE account_id = $1"

ENTRIES = """
SELECT uid, message_id, flags, keywords, modseq FROM mailbox_message
WHERE account_id = $1 AND mailbox_id = $2
ORDER BY uid
"""

CHANGED = """
SELECT uid, message_id, flags, keywords, modseq FROM mailbox_message
WHERE account_id = $1 AND mailbox_id = $2 AND modseq > $3
ORDER BY uid
"""

EXPUNGED = """
SELECT uid FROM change_log
WHERE account_id = $1 AND container_id = $2 AND modseq > $3 AND kind = $4
ORDER BY uid
"""

QUOTA = "SELECT used_bytes, used_messages, quota FROM account_counter WHERE account_id = $1"
MODSEQS = "SELECT account_id, modseq FROM account_counter WHERE account_id = ANY ($1::bigint[]) AND state <> 2"
MAILBOX_MODSEQS = "SELECT id, modseq FROM mailbox WHERE account_id = $1"

# The counter is locked by every change, not by this: recent_uid is nobody's state but the next session's.
TAKE_RECENT = """
WITH before AS (
    SELECT recent_uid FROM mailbox WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE
)
UPDATE mailbox SET recent_uid = uidnext FROM before WHERE account_id = $1 AND id = $2
RETURNING before.recent_uid
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


async def entries(connection: Connection | Database, account: AccountId, mailbox: MailboxId, since: int) -> list[Entry]:
    """Entries by ascending UID: all (`since` 0), or those with a later modseq."""
    if since:
        rows = await connection.fetch(CHANGED, account, mailbox, since)
    else:
        rows = await connection.fetch(ENTRIES, account, mailbox)
    return [entry_of(row) for row in rows]


async def expunged(connection: Connection, account: AccountId, mailbox: MailboxId, since: int) -> list[Uid]:
    """UIDs that vanished after `since`. Raises CannotCalculateChanges behind the horizon, MailboxNotFound."""
    quiet = (await one(connection, account, mailbox)).modseq <= since
    await state(connection, account, since, quiet=quiet)
    rows = await connection.fetch(EXPUNGED, account, mailbox, since, VANISHED)
    return [row["uid"] for row in rows]


async def state(
    connection: Connection | Database, account: AccountId, since: int | None = None, *, quiet: bool = False
) -> Modseq:
    """The account's modseq. Raises AccountNotFound, AccountMoving (it lives elsewhere by now), and
    CannotCalculateChanges when `since` is out of reach.

    `quiet`: nothing happened after `since` to what the caller looks at, so that the horizon does not matter.
    """
    row = await connection.fetchrow(COUNTER, account)
    if row is None:
        raise AccountNotFound(account=account)
    if row["state"] == ELSEWHERE:
        raise AccountMoving(account=account)
    if since is not None and (since > row["modseq"] or (since < row["horizon"] and not quiet)):
        raise CannotCalculateChanges(account=account, since=since, horizon=row["horizon"])
    return Modseq(row["modseq"])


async def view(database: Database, account: AccountId, mailbox: MailboxId, since: Modseq | None) -> MailboxView:
    """One consistent view: the whole mailbox (`since` None), or what changed after the modseq of an earlier view.

    Raises MailboxNotFound, AccountNotFound, CannotCalculateChanges.
    """
    async with database.transaction(isolation="repeatable_read", read_only=True) as connection:
        box = await one(connection, account, mailbox)
        quiet = since is not None and box.modseq <= since
        modseq = await state(connection, account, since, quiet=quiet)
        if since is None:
            return MailboxView(box, modseq, await entries(connection, account, mailbox, 0), [])
        if quiet:
            return MailboxView(box, modseq, [], [])
        rows = await connection.fetch(CHANGED, account, mailbox, since)
        gone = await connection.fetch(EXPUNGED, account, mailbox, since, VANISHED)
        return MailboxView(box, modseq, [entry_of(row) for row in rows], [row["uid"] for row in gone])


async def modseqs(database: Database, accounts: Sequence[AccountId]) -> dict[AccountId, Modseq]:
    """The modseq of each account, in one query; unknown accounts are left out."""
    return {row["account_id"]: row["modseq"] for row in await database.fetch(MODSEQS, accounts)}


async def mailbox_modseqs(database: Database, account: AccountId) -> dict[MailboxId, Modseq]:
    """The modseq of each mailbox."""
    return {row["id"]: row["modseq"] for row in await database.fetch(MAILBOX_MODSEQS, account)}


async def snapshot(database: Database, account: AccountId, mailbox: MailboxId) -> tuple[Mailbox, Modseq]:
    """A mailbox and the account's modseq at the same instant. Raises MailboxNotFound, AccountNotFound."""
    async with database.transaction(isolation="repeatable_read", read_only=True) as connection:
        modseq = await state(connection, account)
        return await one(connection, account, mailbox), modseq


async def take_recent(database: Database, account: AccountId, mailbox: MailboxId) -> Uid:
    """The first UID no session has seen; it is uidnext afterwards. Raises MailboxNotFound."""
    found = await database.fetchval(TAKE_RECENT, account, mailbox)
    if found is None:
        raise MailboxNotFound(account=account, mailbox=mailbox)
    return Uid(found)


async def quota(database: Database, account: AccountId) -> tuple[int, int, int | None]:
    """Used bytes, number of messages, limit in bytes or None. Raises AccountNotFound."""
    row = await database.fetchrow(QUOTA, account)
    if row is None:
        raise AccountNotFound(account=account)
    return row["used_bytes"], row["used_messages"], row["quota"]
