"""When a message came into a mailbox (RFC 8514): written by the database itself, so that old code writes it too."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0036"
down_revision: str | None = "0035"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # First without a default, so that what is there stays as it is: nobody knows when that was saved.
    saved_at = sa.Column(
        "saved_at", sa.DateTime(timezone=True), comment="when it came here (RFC 8514); NULL: not known"
    )
    op.add_column("mailbox_message", saved_at)
    op.execute("ALTER TABLE mailbox_message ALTER COLUMN saved_at SET DEFAULT clock_timestamp()")
