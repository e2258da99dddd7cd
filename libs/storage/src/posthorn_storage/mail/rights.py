"""Rights of others on an account's mailboxes (RFC 4314), and where somebody finds what is shared with them.

Rules:
  - The owner has every right, always; no entry says so, and none can take it away.
  - Rights of several entries add up (an account's own, its groups', everybody's); what negative entries name is taken
    from the sum, whoever gave it (RFC 4314 2: `-identifier`).
  - A grantee finds owners in `share`, on the directory's database. A row there may lead to nothing; rights without a
    row may never exist. So the row comes first, and goes when there were none for a day (posthorn_storage.purge).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from posthorn_model.errors import NotPermitted, TooMany
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.rights import ALL, Right
from posthorn_storage.codes import UPDATED
from posthorn_storage.database import Connection, Database
from posthorn_storage.mail.journal import Journal
from posthorn_storage.mail.kinds import MAILBOX

ANYONE: Final = AccountId(0)
"""Every account of the cluster (RFC 4314 2: "anyone")."""
MAX_ENTRIES: Final = 200
"""Of one mailbox."""
RightsOp: TypeAlias = Literal["replace", "add", "remove"]
_OPS: Final[Mapping[RightsOp, int]] = {"replace": 0, "add": 1, "remove": 2}

LIST = """
SELECT grantee_id, negative, rights FROM mailbox_right WHERE account_id = $1 AND mailbox_id = $2
ORDER BY grantee_id, negative
"""

# An entry without rights is no entry.
CHANGE = """
WITH before AS (
    SELECT rights FROM mailbox_right WHERE account_id = $1 AND mailbox_id = $2 AND grantee_id = $3 AND negative = $4
), after AS (
    SELECT CASE $6::int WHEN 0 THEN $5::int WHEN 1 THEN old.rights | $5 ELSE old.rights & ~$5 END AS rights
    FROM (SELECT coalesce((SELECT rights FROM before), 0)::int AS rights) AS old
), gone AS (
    DELETE FROM mailbox_right r USING after
    WHERE r.account_id = $1 AND r.mailbox_id = $2 AND r.grantee_id = $3 AND r.negative = $4 AND after.rights = 0
), put AS (
    INSERT INTO mailbox_right AS r (account_id, mailbox_id, grantee_id, negative, rights)
    SELECT $1, $2, $3, $4, rights FROM after WHERE rights <> 0
    ON CONFLICT (account_id, mailbox_id, grantee_id, negative)
    DO UPDATE SET rights = EXCLUDED.rights WHERE r.rights <> EXCLUDED.rights
)
SELECT coalesce((SELECT rights FROM before), 0) AS before, rights AS after,
       (SELECT count(*) FROM mailbox_right WHERE account_id = $1 AND mailbox_id = $2) AS entries
FROM after
"""

STAMP = "UPDATE mailbox SET modseq = $3 WHERE account_id = $1 AND id = $2"

INHERIT = """
INSERT INTO mailbox_right (account_id, mailbox_id, grantee_id, negative, rights)
SELECT account_id, $2, grantee_id, negative, rights FROM mailbox_right WHERE account_id = $1 AND mailbox_id = $3
"""

CLEAR = "DELETE FROM mailbox_right WHERE account_id = $1 AND mailbox_id = $2"

EFFECTIVE = """
SELECT account_id, mailbox_id, coalesce(bit_or(rights) FILTER (WHERE NOT negative), 0)
    & ~coalesce(bit_or(rights) FILTER (WHERE negative), 0) AS rights
FROM mailbox_right
WHERE account_id = ANY ($1::bigint[]) AND grantee_id = ANY ($2::bigint[]) AND ($3::bigint IS NULL OR mailbox_id = $3)
GROUP BY account_id, mailbox_id ORDER BY account_id, mailbox_id
"""

OFFER = """
INSERT INTO share AS s (grantee_id, owner_id) VALUES ($1, $2)
ON CONFLICT (grantee_id, owner_id) DO UPDATE SET at = now()
"""

OWNERS = "SELECT DISTINCT owner_id FROM share WHERE grantee_id = ANY ($1::bigint[]) ORDER BY owner_id LIMIT 10000"


@dataclass(frozen=True, slots=True)
class RightsEntry:
    """One entry of a mailbox's list of rights; `grantee` is an account, a group's account, or ANYONE."""

    grantee: AccountId
    rights: Right
    negative: bool = False
    """These rights are taken away (RFC 4314 2: `-identifier`)."""


@dataclass(frozen=True, slots=True)
class SharedMailbox:
    """A mailbox of another account, and what one may do with it."""

    account: AccountId
    mailbox: MailboxId
    rights: Right


class Shares:
    """Which owners share something with whom: the table `share`, on the directory's database."""

    def __init__(self, directory: Database) -> None:
        self._directory = directory

    async def offer(self, grantee: AccountId, owner: AccountId) -> None:
        """Let `grantee` find `owner`; before the rights are given, and again each time."""
        await self._directory.execute(OFFER, grantee, owner)

    async def owners(self, grantee: AccountId, groups: Collection[AccountId] = ()) -> list[AccountId]:
        """Accounts that may share something with `grantee`, its groups or everybody."""
        rows = await self._directory.fetch(OWNERS, [grantee, *groups, ANYONE])
        return [row["owner_id"] for row in rows if row["owner_id"] != grantee]


async def entries(connection: Connection | Database, account: AccountId, mailbox: MailboxId) -> list[RightsEntry]:
    """The entries of a mailbox; the owner's rights are in none."""
    return [
        RightsEntry(row["grantee_id"], Right(row["rights"]), row["negative"])
        for row in await connection.fetch(LIST, account, mailbox)
    ]


async def change(journal: Journal, account: AccountId, mailbox: MailboxId, entry: RightsEntry, op: RightsOp) -> Right:
    """Replace, add or remove rights of one entry; returns what it has then. Without rights it is gone.

    Raises MailboxNotFound, NotPermitted (the owner's rights), TooMany.
    """
    if entry.grantee == account:
        raise NotPermitted("the owner of a mailbox has every right")
    await journal.places(account, [mailbox])
    row = await journal.connection.fetchrow(
        CHANGE, account, mailbox, entry.grantee, entry.negative, int(entry.rights), _OPS[op]
    )
    if row["before"] == row["after"]:
        return Right(row["after"])
    if not row["before"] and row["entries"] >= MAX_ENTRIES:
        raise TooMany("too many entries of rights", account=account, mailbox=mailbox)
    modseq = journal.counters[account].take()
    await journal.connection.execute(STAMP, account, mailbox, modseq)
    journal.log(account, MAILBOX, UPDATED, mailbox, modseq)
    return Right(row["after"])


async def effective(
    database: Database,
    accounts: Sequence[AccountId],
    grantee: AccountId,
    groups: Collection[AccountId] = (),
    mailbox: MailboxId | None = None,
) -> list[SharedMailbox]:
    """What `grantee` may do with mailboxes of other accounts, or with one; those without a right are left out."""
    rows = await database.fetch(EFFECTIVE, list(accounts), [grantee, *groups, ANYONE], mailbox)
    return [SharedMailbox(row["account_id"], row["mailbox_id"], Right(row["rights"])) for row in rows if row["rights"]]


async def of_one(
    database: Database,
    account: AccountId,
    mailbox: MailboxId,
    grantee: AccountId,
    groups: Collection[AccountId] = (),
) -> Right:
    """What `grantee` may do with one mailbox (RFC 4314 3.5 MYRIGHTS); everything when it is its own."""
    if grantee == account:
        return ALL
    found = await effective(database, [account], grantee, groups, mailbox)
    return found[0].rights if found else Right.NONE
