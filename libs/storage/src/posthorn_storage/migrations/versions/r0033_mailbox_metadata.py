"""Annotations that clients keep with mailboxes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0033"
down_revision: str | None = "0032"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "mailbox_metadata",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "mailbox_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="0: the account as a whole"
        ),
        sa.Column(
            "holder_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="whose private entry; 0: shared"
        ),
        sa.Column("entry", sa.Text(), nullable=False, comment="lower case, with its slashes"),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "mailbox_id", "holder_id", "entry", name=op.f("pk_mailbox_metadata")),
    )
