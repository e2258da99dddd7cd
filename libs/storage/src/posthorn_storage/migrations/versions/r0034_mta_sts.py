"""MTA-STS policies of other domains, shared by the cluster."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0034"
down_revision: str | None = "0033"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "mta_sts_policy",
        sa.Column("domain", sa.Text(), nullable=False, comment="in A-labels"),
        sa.Column("id", sa.Text(), nullable=False, comment="as DNS had it when the policy was fetched"),
        sa.Column("policy", postgresql.JSONB(), nullable=False, comment="posthorn_model.mta_sts.StsPolicy"),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, comment="not believed after it"),
        sa.Column(
            "refresh_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="to be fetched again, by whoever comes first",
        ),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_mta_sts_policy")),
    )
    op.create_index("ix_mta_sts_policy_refresh_at", "mta_sts_policy", ["refresh_at"])
