"""Removing what an account holds: all at once for a reset, in bounded steps after an account is gone.

It knows no table by name but those of the directory: whatever is keyed by account is emptied, blob references first.
"""

from collections.abc import Callable
from functools import cache
from typing import Final

from posthorn_model.events import Changed, ChangeKind
from posthorn_model.ids import AccountId, Modseq
from posthorn_storage.database import Connection, Database, affected
from posthorn_storage.mail.journal import begin
from posthorn_storage.mail.provision import empty_in

STEP_ROWS: Final = 5000
_RESET_SECONDS = 600.0
_DIRECTORY = frozenset(
    {
        "account",
        "alias",
        "credential",
        "removed_account",
        "account_counter",
        "account_move",
        "queue_message",
        "blob_ref",
    }
)
_KEPT_BY_RESET = frozenset({"identity"})


@cache
def account_tables() -> tuple[str, ...]:
    """Every table keyed by account that goes with the account, but its counter and blob references."""
    from posthorn_storage.schema import metadata  # SQLAlchemy: half a second that a service's start need not wait for

    return tuple(
        table.name for table in metadata.sorted_tables if "account_id" in table.columns and table.name not in _DIRECTORY
    )


def emptied_tables() -> tuple[str, ...]:
    """Every table keyed by account that a reset empties."""
    return tuple(table for table in account_tables() if table not in _KEPT_BY_RESET)


RELEASE_SOME = """
WITH gone AS (
    DELETE FROM blob_ref WHERE ctid = ANY (ARRAY(SELECT ctid FROM blob_ref WHERE account_id = $1 LIMIT $2))
    RETURNING blob_key
), held AS (
    SELECT key FROM blob WHERE key IN (SELECT blob_key FROM gone) ORDER BY key FOR NO KEY UPDATE
), touched AS (
    UPDATE blob SET touched_at = now() FROM held WHERE blob.key = held.key
)
SELECT count(*) FROM gone
"""

CLOSE = """
WITH closed AS (DELETE FROM account WHERE id = $1 RETURNING id), counter AS (
    DELETE FROM account_counter WHERE account_id = $1
)
INSERT INTO removed_account (account_id) SELECT id FROM closed ON CONFLICT DO NOTHING
"""

NEXT = "SELECT account_id FROM removed_account ORDER BY at LIMIT 1"

DONE = "DELETE FROM removed_account WHERE account_id = $1"


class Removal:
    """Empties accounts. `notify` hears of a reset after its commit."""

    def __init__(self, database: Database, notify: Callable[[Changed], None]) -> None:
        self._database = database
        self._notify = notify

    async def reset(self, account: AccountId) -> None:
        """Empty the account and give it its defaults anew, in one transaction. Raises AccountNotFound.

        Its modseq goes on from where it was and the horizon of its change log moves there, so a client that knew the
        old state starts over.
        """

        async def work(connection: Connection) -> int:
            await connection.execute(f"SET LOCAL statement_timeout = '{int(_RESET_SECONDS)}s'")
            await begin(connection, [account])
            while await connection.fetchval(RELEASE_SOME, account, 100_000, timeout=_RESET_SECONDS):
                pass
            for table in emptied_tables():
                await connection.execute(_delete(table), account, None, timeout=_RESET_SECONDS)
            await empty_in(connection, account)
            modseq: int = await connection.fetchval("SELECT modseq FROM account_counter WHERE account_id = $1", account)
            return modseq

        modseq = await self._database.run(work)
        self._notify(Changed(account, Modseq(modseq), frozenset(ChangeKind)))

    async def remove(self, account: AccountId) -> None:
        """Close the account (nothing finds it or writes to it from then on), then remove all it held.

        A process killed in between leaves the rest to `step`. Raises AccountNotFound.
        """

        async def close(connection: Connection) -> None:
            await begin(connection, [account])
            await connection.execute(CLOSE, account)

        await self._database.run(close)
        while await self._step(account, STEP_ROWS):
            pass

    async def step(self, limit: int) -> int:
        """Remove at most `limit` rows of an account that was closed; returns how many went, 0 when none are left."""
        account = await self._database.fetchval(NEXT)
        return 0 if account is None else await self._step(account, limit)

    async def _step(self, account: AccountId, limit: int) -> int:
        async def work(connection: Connection) -> int:
            gone: int = await connection.fetchval(RELEASE_SOME, account, limit)
            for table in account_tables():
                if gone >= limit:
                    return gone
                gone += affected(await connection.execute(_delete(table), account, limit - gone))
            if not gone:
                gone = affected(await connection.execute(DONE, account))
            return gone

        return await self._database.run(work)


def _delete(table: str) -> str:
    name = f'"{table}"'
    return f"DELETE FROM {name} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {name} WHERE account_id = $1 LIMIT $2))"  # noqa: S608
