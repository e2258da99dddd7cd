"""The index for accounts that take no changes: a handful, looked for again and again."""

from collections.abc import Sequence

from posthorn_storage.migrations.online import Online

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_account_counter_state ON account_counter (account_id) WHERE state <> 0
"""


async def online(work: Online) -> None:
    await work.index("ix_account_counter_state", INDEX)
