"""Rights of others on mailboxes, and where somebody finds what is shared with them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

GRANTEE = "an account; 0: anyone"


def upgrade() -> None:
    op.create_table(
        "mailbox_right",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mailbox_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("grantee_id", sa.BigInteger(), autoincrement=False, nullable=False, comment=GRANTEE),
        sa.Column("negative", sa.Boolean(), nullable=False, comment="takes these rights away"),
        sa.Column("rights", sa.SmallInteger(), nullable=False, comment="posthorn_model.rights.Right"),
        sa.CheckConstraint("rights BETWEEN 1 AND 2047", name=op.f("ck_mailbox_right_rights")),
        sa.PrimaryKeyConstraint("account_id", "mailbox_id", "grantee_id", "negative", name=op.f("pk_mailbox_right")),
    )
    op.create_table(
        "share",
        sa.Column("grantee_id", sa.BigInteger(), autoincrement=False, nullable=False, comment=GRANTEE),
        sa.Column("owner_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="perhaps elsewhere"),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="last offered or looked at",
        ),
        sa.PrimaryKeyConstraint("grantee_id", "owner_id", name=op.f("pk_share")),
    )
    op.create_index(op.f("ix_share_at"), "share", ["at"])
