"""Keys that prove URLs which lend the rights of an account on a mailbox to others (RFC 4467 2.2).

One for each account and mailbox, made when it is first asked for; whoever resets it takes all those URLs back.
"""

from secrets import token_bytes
from typing import Final

from posthorn_model.ids import AccountId, MailboxId
from posthorn_storage.database import Database
from posthorn_storage.mail.journal import Journal

KEY_OCTETS: Final = 32

READ = "SELECT key FROM url_key WHERE account_id = $1 AND owner_id = $2 AND mailbox_id = $3"
MAKE = """
INSERT INTO url_key (account_id, owner_id, mailbox_id, key) VALUES ($1, $2, $3, $4)
ON CONFLICT (account_id, owner_id, mailbox_id) DO NOTHING
"""
RESET = """
DELETE FROM url_key WHERE account_id = $1 AND ($2::bigint IS NULL OR (owner_id = $2 AND mailbox_id = $3))
"""


async def read(database: Database, account: AccountId, owner: AccountId, mailbox: MailboxId) -> bytes | None:
    """The key, if there is one."""
    key: bytes | None = await database.fetchval(READ, account, owner, mailbox)
    return key


async def make(journal: Journal, account: AccountId, owner: AccountId, mailbox: MailboxId) -> bytes:
    """The key, made if there is none."""
    await journal.connection.execute(MAKE, account, owner, mailbox, token_bytes(KEY_OCTETS))
    key: bytes = await journal.connection.fetchval(READ, account, owner, mailbox)
    return key


async def reset(journal: Journal, account: AccountId, place: tuple[AccountId, MailboxId] | None) -> None:
    """Forget the key of an account for one mailbox, or all of its keys."""
    owner, mailbox = place if place is not None else (None, None)
    await journal.connection.execute(RESET, account, owner, mailbox)
