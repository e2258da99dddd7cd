"""Subscriptions to mailboxes of others; those to an account's own are columns of its mailboxes.

They lie with whoever subscribed, and lead to nothing where the mailbox is gone or no longer shared (RFC 9051 6.3.7).
"""

from typing import Final

from posthorn_model.errors import TooMany
from posthorn_model.ids import AccountId, MailboxId
from posthorn_storage.database import Database
from posthorn_storage.mail.journal import Journal

MAX_SUBSCRIPTIONS: Final = 10_000
"""Of one account."""

ALL = "SELECT owner_id, mailbox_id FROM shared_subscription WHERE account_id = $1"
ADD = """
INSERT INTO shared_subscription (account_id, owner_id, mailbox_id) VALUES ($1, $2, $3)
ON CONFLICT (account_id, owner_id, mailbox_id) DO NOTHING
"""
REMOVE = "DELETE FROM shared_subscription WHERE account_id = $1 AND owner_id = $2 AND mailbox_id = $3"
COUNT = "SELECT count(*) FROM shared_subscription WHERE account_id = $1"


async def of(database: Database, account: AccountId) -> set[tuple[AccountId, MailboxId]]:
    """Owner and mailbox of each."""
    return {(row["owner_id"], row["mailbox_id"]) for row in await database.fetch(ALL, account)}


async def change(
    journal: Journal, account: AccountId, owner: AccountId, mailbox: MailboxId, *, subscribed: bool
) -> None:
    """Add one or take it away. Raises TooMany."""
    connection = journal.connection
    await connection.execute(ADD if subscribed else REMOVE, account, owner, mailbox)
    if subscribed and await connection.fetchval(COUNT, account) > MAX_SUBSCRIPTIONS:
        raise TooMany("too many subscriptions", account=account)
