"""Sites whose recipients stand in several shards, and who holds which part of a limit that is shared out."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0041"
down_revision: str | None = "0040"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "queue_spread",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("home", sa.SmallInteger(), nullable=False, comment="the shard whose owner alone writes this row"),
        sa.Column("spread", sa.SmallInteger(), nullable=False, comment="in how many shards, from home on"),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("spread > 1", name=op.f("ck_queue_spread_spread")),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_queue_spread")),
    )
    op.create_index(op.f("ix_queue_spread_home"), "queue_spread", ["home"])
    op.create_table(
        "queue_share",
        sa.Column("name", sa.Text(), nullable=False, comment="of the site or relay whose limit is shared out"),
        sa.Column("holder", sa.Text(), nullable=False, comment="the boot id of a process"),
        sa.Column("connections", sa.Integer(), nullable=False, comment="that the holder may have open"),
        sa.Column("wanted", sa.Integer(), nullable=False, comment="that the holder has work for"),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False, comment="nobody's after it"),
        sa.PrimaryKeyConstraint("name", "holder", name=op.f("pk_queue_share")),
        postgresql_with={
            "fillfactor": 50,
            "autovacuum_vacuum_scale_factor": 0.02,
            "autovacuum_vacuum_threshold": 100,
            "autovacuum_vacuum_cost_delay": 0,
        },
    )
