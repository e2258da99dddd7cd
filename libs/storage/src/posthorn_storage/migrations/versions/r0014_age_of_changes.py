"""The index for changes that are too old: the one there is finds them only while they lie in the order they came in."""

from collections.abc import Sequence

from posthorn_storage.migrations.online import Online

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_change_log_age ON change_log (at)"


async def online(work: Online) -> None:
    await work.index("ix_change_log_age", INDEX)
