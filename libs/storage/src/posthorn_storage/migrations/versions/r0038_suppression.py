"""Addresses that no mail is sent to, for mail of one sender, one domain or everybody."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0038"
down_revision: str | None = "0037"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "queue_suppression",
        sa.Column("address", sa.Text(), nullable=False, comment="of the recipient, in lower case"),
        sa.Column("scope", sa.Text(), nullable=False, comment="domain or address of the sender; empty: everybody"),
        sa.Column("source", sa.Text(), nullable=False, comment="bounce, complaint, operator"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), comment="NULL: until it is removed"),
        sa.CheckConstraint("source IN ('bounce', 'complaint', 'operator')", name=op.f("ck_queue_suppression_source")),
        sa.PrimaryKeyConstraint("address", "scope", name=op.f("pk_queue_suppression")),
    )
    op.create_index(
        "ix_queue_suppression_until", "queue_suppression", ["until"], postgresql_where=sa.text("until IS NOT NULL")
    )
