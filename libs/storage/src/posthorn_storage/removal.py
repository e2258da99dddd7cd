"""Removing what an account holds: all at once for a reset, in bounded steps after an account is gone.

It knows no table by name but those of the directory: whatever is keyed by account is emptied, blob references first.
"""

from collections.abc import Awaitable, Callable
from functools import cache

from posthorn_model.events import Changed, ChangeKind
from posthorn_model.ids import AccountId, Modseq
from posthorn_storage.blobs.attach import letting_go
from posthorn_storage.database import Connection, affected
from posthorn_storage.mail.journal import Units
from posthorn_storage.mail.provision import empty_in

_RESET_SECONDS = 600.0
_DIRECTORY = frozenset(
    {
        "account",
        "alias",
        "credential",
        "app_password",
        "removed_account",
        "account_counter",
        "account_move",
        "queue_message",
        "blob_ref",
    }
)
_KEPT_BY_RESET = frozenset({"identity", "push_subscription"})


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


RELEASE_SOME = letting_go("WHERE ctid = ANY (ARRAY(SELECT ctid FROM blob_ref WHERE account_id = $1 LIMIT $2))")

CLOSE = "DELETE FROM account_counter WHERE account_id = $1"


class Removal:
    """Empties accounts on one database. `units` are that database's; `notify` hears of a reset after its commit."""

    def __init__(self, units: Units, notify: Callable[[Changed], None]) -> None:
        self._units = units
        self._database = units.database
        self._notify = notify

    async def reset(self, account: AccountId) -> None:
        """Empty the account and give it its defaults anew, in one transaction. Raises AccountNotFound.

        Its modseq goes on from where it was and the horizon of its change log moves there, so a client that knew the
        old state starts over.
        """

        async def work(connection: Connection) -> int:
            await connection.execute(f"SET LOCAL statement_timeout = '{int(_RESET_SECONDS)}s'")
            await self._units.begin(connection, [account])
            while await connection.fetchval(RELEASE_SOME, account, 100_000, timeout=_RESET_SECONDS):
                pass
            for table in emptied_tables():
                await connection.execute(_delete(table), account, None, timeout=_RESET_SECONDS)
            await empty_in(connection, account)
            modseq: int = await connection.fetchval("SELECT modseq FROM account_counter WHERE account_id = $1", account)
            return modseq

        modseq = await self._database.run(work)
        self._notify(Changed(account, Modseq(modseq), frozenset(ChangeKind)))

    async def close(self, account: AccountId) -> None:
        """Nothing writes to the account from then on: its counter goes once the writer that holds it has ended."""
        await self._database.execute(CLOSE, account)

    async def step(
        self, account: AccountId, limit: int, hold: Callable[[Connection], Awaitable[bool]] | None = None
    ) -> int | None:
        """Remove at most `limit` rows of a closed account; returns how many went, 0 when none are left.

        None, and nothing is removed, when `hold` says in the same transaction that another does this work now.
        """

        async def work(connection: Connection) -> int | None:
            if hold is not None and not await hold(connection):
                return None
            gone: int = await connection.fetchval(RELEASE_SOME, account, limit)
            for table in account_tables():
                if gone >= limit:
                    return gone
                gone += affected(await connection.execute(_delete(table), account, limit - gone))
            return gone

        return await self._database.run(work)


def _delete(table: str) -> str:
    name = f'"{table}"'
    return f"DELETE FROM {name} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {name} WHERE account_id = $1 LIMIT $2))"  # noqa: S608
