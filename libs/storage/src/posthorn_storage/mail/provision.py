"""What every account has from the start: its counter, default mailboxes, calendar and address book; and its removal.

Called by the directory inside its transactions. Accounts that are emptied keep their counter, so that no modseq and no
UIDVALIDITY is ever given twice; states from before are behind the new horizon.
"""

from collections.abc import Sequence
from typing import Final

from posthorn_model.errors import AccountNotFound
from posthorn_model.events import ChangeKind
from posthorn_model.ids import AccountId
from posthorn_model.mail import Role
from posthorn_storage.blobs.attach import release
from posthorn_storage.codes import CREATED, REF_ITEM, REF_MESSAGE
from posthorn_storage.database import Connection
from posthorn_storage.mail.kinds import KIND, MAILBOX

DEFAULT_MAILBOXES: Final = (
    ("INBOX", Role.INBOX),
    ("Drafts", Role.DRAFTS),
    ("Sent", Role.SENT),
    ("Junk", Role.JUNK),
    ("Trash", Role.TRASH),
    ("Archive", Role.ARCHIVE),
)
DEFAULT_COLLECTIONS: Final = (("cal", "Calendar", ChangeKind.CALENDAR), ("card", "Contacts", ChangeKind.ADDRESS_BOOK))

COUNTERS = """
INSERT INTO account_counter (account_id, uidvalidity, quota)
SELECT id, extract(epoch FROM now())::bigint, $2 FROM unnest($1::bigint[]) AS new (id)
"""

IDENTITIES = """
INSERT INTO identity (account_id, name, email)
SELECT id, $3, address FROM unnest($1::bigint[], $2::text[]) AS new (id, address)
"""

MAILBOXES = """
WITH counters AS (
    UPDATE account_counter SET uidvalidity = uidvalidity + cardinality($2::text[])
    WHERE account_id = ANY ($1::bigint[])
    RETURNING account_id, modseq, uidvalidity - cardinality($2::text[]) AS uidvalidity
), made AS (
    INSERT INTO mailbox (account_id, name, role, sort_order, uidvalidity, modseq)
    SELECT account_id, name, role, place, uidvalidity + place, modseq
    FROM counters, unnest($2::text[], $3::text[]) WITH ORDINALITY AS box (name, role, place)
    ORDER BY account_id, place
    RETURNING account_id, id, modseq
)
INSERT INTO change_log (account_id, kind, modseq, object_id, op) SELECT account_id, $4, modseq, id, $5 FROM made
"""

COLLECTIONS = """
WITH made AS (
    INSERT INTO collection (account_id, kind, name, display_name, modseq)
    SELECT account_id, kind, 'default', display_name, modseq
    FROM account_counter, unnest($2::text[], $3::text[]) AS new (kind, display_name)
    WHERE account_id = ANY ($1::bigint[])
    RETURNING account_id, id, kind, modseq
)
INSERT INTO change_log (account_id, kind, modseq, object_id, op)
SELECT account_id, number, modseq, id, $5
FROM made JOIN unnest($2::text[], $4::smallint[]) AS kinds (kind, number) USING (kind)
"""

LOCK = "SELECT modseq FROM account_counter WHERE account_id = $1 FOR UPDATE"

CLEAR = """
WITH a AS (DELETE FROM message WHERE account_id = $1), b AS (DELETE FROM mailbox_message WHERE account_id = $1),
     c AS (DELETE FROM message_text WHERE account_id = $1), d AS (DELETE FROM thread_key WHERE account_id = $1),
     e AS (DELETE FROM mailbox WHERE account_id = $1), f AS (DELETE FROM change_log WHERE account_id = $1),
     g AS (DELETE FROM delivery_seen WHERE account_id = $1), h AS (DELETE FROM item WHERE account_id = $1)
DELETE FROM collection WHERE account_id = $1
"""

RESTART = """
UPDATE account_counter SET modseq = modseq + 1, horizon = modseq + 1, used_bytes = 0, used_messages = 0
WHERE account_id = $1
"""

REFERENCES = "SELECT ref_id FROM blob_ref WHERE account_id = $1 AND kind = $2"


async def create_in(
    connection: Connection, owners: Sequence[tuple[AccountId, str]], display_name: str = "", quota: int | None = None
) -> None:
    """Give new accounts (id and address) their counter, defaults and identity, in five statements for all of them.

    `quota` is in bytes.
    """
    accounts = [account for account, _ in owners]
    if not accounts:
        return
    await connection.execute(COUNTERS, accounts, quota)
    await connection.execute(IDENTITIES, accounts, [address for _, address in owners], display_name)
    await _defaults(connection, accounts)


async def empty_in(connection: Connection, account: AccountId) -> None:
    """Remove all mail and groupware of an account and make the defaults again. Raises AccountNotFound."""
    await _clear(connection, account)
    await connection.execute(RESTART, account)
    await _defaults(connection, [account])


async def _defaults(connection: Connection, accounts: Sequence[AccountId]) -> None:
    names = [name for name, _ in DEFAULT_MAILBOXES]
    roles = [role.value for _, role in DEFAULT_MAILBOXES]
    await connection.execute(MAILBOXES, accounts, names, roles, MAILBOX, CREATED)
    kinds = [kind for kind, _, _ in DEFAULT_COLLECTIONS]
    shown = [name for _, name, _ in DEFAULT_COLLECTIONS]
    numbers = [KIND[change] for _, _, change in DEFAULT_COLLECTIONS]
    await connection.execute(COLLECTIONS, accounts, kinds, shown, numbers, CREATED)


async def _clear(connection: Connection, account: AccountId) -> None:
    if await connection.fetchrow(LOCK, account) is None:
        raise AccountNotFound(account=account)
    for kind in (REF_MESSAGE, REF_ITEM):
        ids = [row[0] for row in await connection.fetch(REFERENCES, account, kind)]
        await release(connection, kind, [account] * len(ids), ids)
    await connection.execute(CLEAR, account)
