"""The first index of the change log's ages goes: each entry was written into it, and that of r0014 does its work."""

from collections.abc import Sequence

from alembic import op

revision: str = "0045"
down_revision: str | None = "0044"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None
excused = {"takes-away": "no code names it, and another index of the same column has been there since r0014"}


def upgrade() -> None:
    op.execute("DROP INDEX IF EXISTS ix_change_log_at")
