"""The index for recipients that something stops."""

from collections.abc import Sequence

from posthorn_storage.migrations.online import Online

revision: str = "0032"
down_revision: str | None = "0031"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_queue_recipient_parked ON queue_recipient (parked)
WHERE parked IS NOT NULL
"""


async def online(work: Online) -> None:
    await work.index("ix_queue_recipient_parked", INDEX)
