"""Mailboxes: listing, creating, renaming and moving, deleting.

The inbox is never deleted, keeps its role, and its name; RFC 9051 6.3.6 RENAME INBOX moves its messages instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import asyncpg

from posthorn_model.errors import (
    AlreadyExists,
    InvalidName,
    MailboxHasChildren,
    MailboxNotEmpty,
    MailboxNotFound,
    NotPermitted,
    TooMany,
)
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.mail import Mailbox, Role
from posthorn_storage.codes import CREATED, DESTROYED, UPDATED
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.database.plans import one_plan
from posthorn_storage.mail import rights
from posthorn_storage.mail.expunge import remove_all
from posthorn_storage.mail.journal import Journal, Place
from posthorn_storage.mail.kinds import MAILBOX
from posthorn_storage.mail.names import MAX_DEPTH, MAX_MAILBOXES, is_inbox_name, mailbox_name

COLUMNS: Final = (
    "id, name, parent_id, role, subscribed, sort_order, uidvalidity, uidnext, total, unseen, deleted, size, modseq"
)
ALL = f"SELECT {COLUMNS} FROM mailbox WHERE account_id = $1 ORDER BY sort_order, name, id"  # noqa: S608
ONE = f"SELECT {COLUMNS} FROM mailbox WHERE account_id = $1 AND id = $2"  # noqa: S608
ALL_OF_MANY = one_plan(f"""
SELECT account_id, {COLUMNS} FROM mailbox WHERE account_id = ANY ($1::bigint[])
ORDER BY account_id, sort_order, name, id
""")  # noqa: S608
WITH_ROLE = one_plan("SELECT account_id, id FROM mailbox WHERE account_id = ANY ($1::bigint[]) AND role = $2")
TREE = "SELECT id, parent_id FROM mailbox WHERE account_id = $1"

INSERT = f"""
INSERT INTO mailbox (account_id, name, parent_id, role, subscribed, sort_order, uidvalidity, modseq)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING {COLUMNS}
"""  # noqa: S608

UPDATE = f"""
UPDATE mailbox SET name = $3, parent_id = $4, role = $5, subscribed = $6, sort_order = $7, modseq = $8
WHERE account_id = $1 AND id = $2
RETURNING {COLUMNS}
"""  # noqa: S608

CLEAR_METADATA = "DELETE FROM mailbox_metadata WHERE account_id = $1 AND mailbox_id = $2"
DELETE = "DELETE FROM mailbox WHERE account_id = $1 AND id = $2"

KEEP: Final = "keep"
"""As `role` of a change: leave it as it is (None takes the role away)."""


@dataclass(frozen=True, slots=True)
class MailboxChange:
    """What to change of a mailbox; None leaves as it is."""

    name: str | None = None
    parent: MailboxId | None = None
    role: Role | Literal["keep"] | None = KEEP
    subscribed: bool | None = None
    sort_order: int | None = None


def mailbox_of(row: Row) -> Mailbox:
    """Make a Mailbox of a row of COLUMNS."""
    return Mailbox(
        id=row["id"],
        name=row["name"],
        parent=row["parent_id"],
        role=None if row["role"] is None else Role(row["role"]),
        subscribed=row["subscribed"],
        sort_order=row["sort_order"],
        uidvalidity=row["uidvalidity"],
        uidnext=row["uidnext"],
        total=row["total"],
        unseen=row["unseen"],
        deleted=row["deleted"],
        size=row["size"],
        modseq=row["modseq"],
    )


async def all_of(database: Database, account: AccountId) -> list[Mailbox]:
    """Every mailbox of the account, by sort order and name."""
    return [mailbox_of(row) for row in await database.fetch(ALL, account)]


async def all_of_many(database: Database, accounts: Sequence[AccountId]) -> dict[AccountId, list[Mailbox]]:
    """Every mailbox of each of these accounts, as `all_of` has them."""
    found: dict[AccountId, list[Mailbox]] = {}
    for row in await database.fetch(ALL_OF_MANY, accounts):
        found.setdefault(row["account_id"], []).append(mailbox_of(row))
    return found


async def with_role(database: Database, accounts: Sequence[AccountId], role: Role) -> dict[AccountId, MailboxId]:
    """The mailbox of a special use, of each account that has one."""
    return {row["account_id"]: row["id"] for row in await database.fetch(WITH_ROLE, accounts, role.value)}


async def one(connection: Connection | Database, account: AccountId, mailbox: MailboxId) -> Mailbox:
    """One mailbox. Raises MailboxNotFound."""
    row = await connection.fetchrow(ONE, account, mailbox)
    if row is None:
        raise MailboxNotFound(account=account, mailbox=mailbox)
    return mailbox_of(row)


async def create(
    journal: Journal,
    account: AccountId,
    name: str,
    parent: MailboxId,
    role: Role | None,
    *,
    subscribed: bool,
    sort_order: int,
) -> Mailbox:
    """Make a mailbox; others may do in it what they may in its parent (RFC 4314 3).

    Raises AlreadyExists, InvalidName, MailboxNotFound (the parent), TooMany.
    """
    tree = await _tree(journal.connection, account)
    name = _checked_name(name, parent)
    _check_depth(tree, parent, 1)
    if len(tree) >= MAX_MAILBOXES:
        raise TooMany("too many mailboxes", account=account)
    counter = journal.counters[account]
    uidvalidity, modseq = counter.take_uidvalidity(), counter.take()
    row = await _unique(
        journal.connection, INSERT, account, name, parent, role, subscribed, sort_order, uidvalidity, modseq
    )
    if parent:
        await journal.connection.execute(rights.INHERIT, account, row["id"], parent)
    journal.log(account, MAILBOX, CREATED, row["id"], modseq)
    journal.adopt(Place(account, row["id"], uidvalidity, 1))
    return mailbox_of(row)


async def update(journal: Journal, account: AccountId, mailbox: MailboxId, change: MailboxChange) -> Mailbox:
    """Rename, move, or change attributes of a mailbox.

    Raises MailboxNotFound, AlreadyExists, InvalidName (also for a move below itself), NotPermitted (the inbox).
    """
    before = await one(journal.connection, account, mailbox)
    parent = before.parent if change.parent is None else change.parent
    role = before.role if change.role == KEEP else change.role
    moved = (change.name is not None and change.name != before.name) or parent != before.parent
    if before.role is Role.INBOX and (moved or role is not Role.INBOX):
        raise NotPermitted("the inbox keeps its name, place and role")
    name = before.name
    if moved:
        tree = await _tree(journal.connection, account)
        name = _checked_name(before.name if change.name is None else change.name, parent)
        if mailbox in _ancestors(tree, parent):
            raise InvalidName("a mailbox cannot be moved below itself")
        _check_depth(tree, parent, _height(tree, mailbox))
    after = (
        name,
        parent,
        role,
        before.subscribed if change.subscribed is None else change.subscribed,
        before.sort_order if change.sort_order is None else change.sort_order,
    )
    if after == (before.name, before.parent, before.role, before.subscribed, before.sort_order):
        return before
    modseq = journal.counters[account].take()
    row = await _unique(journal.connection, UPDATE, account, mailbox, *after, modseq)
    journal.log(account, MAILBOX, UPDATED, mailbox, modseq)
    return mailbox_of(row)


async def delete(journal: Journal, account: AccountId, mailbox: MailboxId, *, remove_messages: bool) -> None:
    """Delete a mailbox. Raises MailboxNotFound, NotPermitted (inbox), MailboxHasChildren, MailboxNotEmpty."""
    before = await one(journal.connection, account, mailbox)
    if before.role is Role.INBOX:
        raise NotPermitted("the inbox cannot be deleted")
    if mailbox in (await _tree(journal.connection, account)).values():
        raise MailboxHasChildren(account=account, mailbox=mailbox)
    if before.total and not remove_messages:
        raise MailboxNotEmpty(account=account, mailbox=mailbox)
    await remove_all(journal, account, mailbox)
    await journal.connection.execute(rights.CLEAR, account, mailbox)
    await journal.connection.execute(CLEAR_METADATA, account, mailbox)
    await journal.connection.execute(DELETE, account, mailbox)
    journal.forget(account, mailbox)
    journal.log(account, MAILBOX, DESTROYED, mailbox, journal.counters[account].take())


async def _unique(connection: Connection, query: str, *arguments: object) -> Row:
    try:
        return await connection.fetchrow(query, *arguments)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "uq_mailbox_role":
            raise AlreadyExists("another mailbox has that role") from error
        raise AlreadyExists("a mailbox of that name already exists") from error


def _checked_name(text: str, parent: MailboxId) -> str:
    name = mailbox_name(text)
    if parent == 0 and is_inbox_name(name):
        raise AlreadyExists("the inbox already exists")
    return name


async def _tree(connection: Connection, account: AccountId) -> dict[int, int]:
    """Parent of each mailbox."""
    return {row["id"]: row["parent_id"] for row in await connection.fetch(TREE, account)}


def _ancestors(tree: dict[int, int], mailbox: int) -> Sequence[int]:
    """The mailbox itself and all above it. Raises MailboxNotFound when it is not there."""
    found = []
    while mailbox:
        if mailbox not in tree:
            raise MailboxNotFound(mailbox=mailbox)
        found.append(mailbox)
        mailbox = tree[mailbox]
    return found


def _height(tree: dict[int, int], mailbox: int) -> int:
    """Levels of the tree that begins with `mailbox`; at most one more than the depth allowed."""
    level, height = {mailbox}, 0
    while level and height <= MAX_DEPTH:
        level = {child for child, parent in tree.items() if parent in level}
        height += 1
    return height


def _check_depth(tree: dict[int, int], parent: int, height: int) -> None:
    if len(_ancestors(tree, parent)) + height > MAX_DEPTH:
        raise InvalidName("mailboxes are nested too deeply")
