"""How much was sent from each source that is being warmed up, in its last day and hour."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0042"
down_revision: str | None = "0041"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "queue_warm_up",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False, comment="since 1970, in UTC"),
        sa.Column("day_sent", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False, comment="since 1970"),
        sa.Column("hour_sent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_queue_warm_up")),
        postgresql_with={
            "fillfactor": 50,
            "autovacuum_vacuum_scale_factor": 0.02,
            "autovacuum_vacuum_threshold": 100,
            "autovacuum_vacuum_cost_delay": 0,
        },
    )
