"""Reading the counters of accounts: questions that come while one is under way are asked together, after it.

Sessions ask whether their accounts have changed far more often than they have, and a statement for each of them costs
the process and PostgreSQL several times what one more account in a statement costs. What is read is never older than
the question, and nothing is remembered.
"""

from collections.abc import Sequence

from posthorn_model.errors import PosthornError
from posthorn_model.ids import AccountId
from posthorn_storage.combiner import Combiner
from posthorn_storage.database import Database, Row
from posthorn_storage.database.plans import one_plan

READ = one_plan("""
SELECT account_id, modseq AS highest, horizon, state, used_bytes, used_messages, quota FROM account_counter
WHERE account_id = ANY ($1::bigint[])
""")


class Counters:
    """The counters in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading: Combiner[AccountId, Row | None] = Combiner(self._read_all, window=0.0, parallel=1)

    async def read(self, account: AccountId) -> Row | None:
        """The columns of READ, by a statement that begins after this was called; None without such an account.

        Raises Overloaded, Unavailable.
        """
        return await self._reading.submit(account)

    async def _read_all(self, accounts: Sequence[AccountId]) -> Sequence[Row | PosthornError | None]:
        try:
            rows = await self._database.fetch(READ, list(set(accounts)))
        except PosthornError as error:
            return [error] * len(accounts)  # each by itself would fare no better, and one after the other
        found = {row["account_id"]: row for row in rows}
        return [found.get(account) for account in accounts]
