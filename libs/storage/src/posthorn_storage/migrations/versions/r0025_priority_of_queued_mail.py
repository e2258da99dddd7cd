"""The index for what is due and has a priority of its own."""

from collections.abc import Sequence

from posthorn_storage.migrations.online import Online

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_queue_recipient_priority ON queue_recipient (shard, priority, due)
WHERE state IN (0, 1) AND priority <> 0
"""


async def online(work: Online) -> None:
    await work.index("ix_queue_recipient_priority", INDEX)
