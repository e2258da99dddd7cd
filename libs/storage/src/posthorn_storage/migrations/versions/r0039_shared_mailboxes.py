"""Subscriptions to mailboxes of others."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0039"
down_revision: str | None = "0038"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "shared_subscription",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="who subscribed"),
        sa.Column("owner_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mailbox_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="of the owner"),
        sa.PrimaryKeyConstraint("account_id", "owner_id", "mailbox_id", name=op.f("pk_shared_subscription")),
    )
