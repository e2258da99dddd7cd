"""The indexes go whose entries depended on a recipient's state."""

from collections.abc import Sequence

from alembic import op

revision: str = "0048"
down_revision: str | None = "0047"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None
excused = {"takes-away": "no code names them, and those of r0047 serve the statements of the version before too"}


def upgrade() -> None:
    op.execute("DROP INDEX IF EXISTS ix_queue_recipient_due")
    op.execute("DROP INDEX IF EXISTS ix_queue_recipient_priority")
