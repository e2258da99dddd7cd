"""The index for what is old enough for the cold store, and for whether a store still holds anything."""

from collections.abc import Sequence

from posthorn_storage.migrations.online import Online

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_blob_store ON blob (store, stored_at) WHERE object IS NOT NULL
"""


async def online(work: Online) -> None:
    await work.index("ix_blob_store", INDEX)
