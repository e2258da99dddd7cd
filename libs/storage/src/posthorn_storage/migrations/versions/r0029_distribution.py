"""Addresses that lead to several others: groups, forwards and mailing lists."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0029"
down_revision: str | None = "0028"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "distribution",
        sa.Column(
            "address", sa.Text(), nullable=False, comment="lower case; of a forward it is an account's or alias's too"
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="group, forward, list"),
        sa.Column("name", sa.Text(), server_default="", nullable=False, comment="of a list, for people"),
        sa.Column("owner", sa.Text(), server_default="", nullable=False, comment="of a list: who gets its bounces"),
        sa.Column(
            "posting", sa.Text(), server_default="anyone", nullable=False, comment="to a list: anyone, members, nobody"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('group', 'forward', 'list')", name=op.f("ck_distribution_kind")),
        sa.CheckConstraint("posting IN ('anyone', 'members', 'nobody')", name=op.f("ck_distribution_posting")),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_distribution")),
    )
    op.create_table(
        "distribution_member",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False, comment="an address, of the cluster or not"),
        sa.ForeignKeyConstraint(
            ["address"],
            ["distribution.address"],
            name=op.f("fk_distribution_member_address_distribution"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("address", "member", name=op.f("pk_distribution_member")),
    )
