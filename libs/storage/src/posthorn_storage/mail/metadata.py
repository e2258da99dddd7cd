"""Annotations that clients keep with mailboxes and with their account (RFC 5464): small values by name.

Names are lower case, under /private/ or /shared/. What is private belongs to one holder; the mailbox 0 stands for the
account as a whole. All that an account keeps is bounded, so that it needs no quota.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from posthorn_model.errors import TooLarge, TooMany
from posthorn_model.ids import AccountId, MailboxId
from posthorn_storage.database import Database
from posthorn_storage.mail import mailboxes
from posthorn_storage.mail.journal import Journal

MAX_VALUE: Final = 65536
"""Octets of one value."""
MAX_ENTRIES: Final = 1000
"""Of an account with all its mailboxes."""
MAX_OCTETS: Final = 4_194_304
"""Of all values of an account."""
ACCOUNT: Final = MailboxId(0)
SHARED: Final = AccountId(0)

READ = """
SELECT entry, value FROM mailbox_metadata
WHERE account_id = $1 AND mailbox_id = $2 AND holder_id IN (0, $3) AND EXISTS (
    SELECT FROM unnest($4::text[]) AS wanted (name)
    WHERE entry = wanted.name OR ($5 AND starts_with(entry, wanted.name || '/')))
ORDER BY entry
"""
PUT = """
INSERT INTO mailbox_metadata (account_id, mailbox_id, holder_id, entry, value)
SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::bytea[])
ON CONFLICT (account_id, mailbox_id, holder_id, entry) DO UPDATE SET value = excluded.value
"""
REMOVE = """
DELETE FROM mailbox_metadata m USING unnest($3::bigint[], $4::text[]) AS gone (holder_id, entry)
WHERE m.account_id = $1 AND m.mailbox_id = $2 AND m.holder_id = gone.holder_id AND m.entry = gone.entry
"""
KEPT = """
SELECT count(*) AS entries, coalesce(sum(octet_length(value)), 0) AS octets FROM mailbox_metadata WHERE account_id = $1
"""


async def read(
    database: Database, account: AccountId, mailbox: MailboxId, holder: AccountId, names: Sequence[str], *, below: bool
) -> dict[str, bytes]:
    """Values by name, ascending: those named and, with `below`, all under them."""
    rows = await database.fetch(READ, account, mailbox, holder, list(names), below)
    return {row["entry"]: row["value"] for row in rows}


async def write(
    journal: Journal, account: AccountId, mailbox: MailboxId, holder: AccountId, values: Mapping[str, bytes | None]
) -> None:
    """Set values, or remove them (None): all or none. Raises MailboxNotFound, TooLarge, TooMany."""
    if any(value is not None and len(value) > MAX_VALUE for value in values.values()):
        raise TooLarge(f"a value has at most {MAX_VALUE} octets", account=account)
    if mailbox != ACCOUNT:
        await mailboxes.one(journal.connection, account, mailbox)
    put = [(_holder(name, holder), name, value) for name, value in values.items() if value is not None]
    gone = [(_holder(name, holder), name) for name, value in values.items() if value is None]
    if gone:
        await journal.connection.execute(REMOVE, account, mailbox, *map(list, zip(*gone, strict=True)))
    if put:
        await journal.connection.execute(PUT, account, mailbox, *map(list, zip(*put, strict=True)))
        kept = await journal.connection.fetchrow(KEPT, account)
        if kept["entries"] > MAX_ENTRIES or kept["octets"] > MAX_OCTETS:
            raise TooMany("the account keeps too many annotations", account=account)


def _holder(name: str, holder: AccountId) -> AccountId:
    return holder if name.startswith("/private/") else SHARED
