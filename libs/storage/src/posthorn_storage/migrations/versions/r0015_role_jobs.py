"""Jobs of roles with their cursors, who shall hold a role, and what each process's settings say of roles."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SMALL_AND_HOT = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0.02,
    "autovacuum_vacuum_threshold": 100,
    "autovacuum_vacuum_cost_delay": 0,
}


def upgrade() -> None:
    now = sa.text("now()")
    op.create_table(
        "role_job",
        sa.Column("role", sa.Text(), nullable=False, comment='"purge.stores"'),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("share", sa.SmallInteger(), autoincrement=False, nullable=False, comment="from 0"),
        sa.Column("shares", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False, comment="of the lease of who worked last"),
        sa.Column(
            "cursor",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="where the round goes on, in the job's words",
        ),
        sa.Column(
            "running",
            sa.Boolean(),
            server_default="true",
            nullable=False,
            comment="a round is under way or was cut short",
        ),
        sa.Column("worked", sa.BigInteger(), server_default="0", nullable=False, comment="by the round so far"),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column(
            "failures", sa.SmallInteger(), server_default="0", nullable=False, comment="steps that failed in a row"
        ),
        sa.Column("problem", sa.Text(), comment="the last one"),
        sa.Column("problem_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("role", "job", "share", name=op.f("pk_role_job")),
        postgresql_with=SMALL_AND_HOT,
    )
    op.create_table(
        "role_wish",
        sa.Column("key", sa.Text(), nullable=False, comment='of a lease: "role/purge.stores"'),
        sa.Column("node_id", sa.Integer(), nullable=False, comment="who shall hold it, while it lives"),
        sa.Column("at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_role_wish")),
    )
    op.add_column(
        "process",
        sa.Column(
            "roles",
            postgresql.JSONB(),
            comment="which nodes its settings let hold which role; null: it said nothing",
        ),
    )
