"""Networks whose clients no node lets in."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0028"
down_revision: str | None = "0027"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "ban",
        sa.Column("network", postgresql.CIDR(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="automatic, operator"),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), comment="NULL: until it is lifted"),
        sa.CheckConstraint("source IN ('automatic', 'operator')", name=op.f("ck_ban_source")),
        sa.PrimaryKeyConstraint("network", name=op.f("pk_ban")),
    )
