"""What stops queued mail: recipients that are held, pauses of sites, of routes and of everything."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0031"
down_revision: str | None = "0030"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    parked: sa.Column[int] = sa.Column(
        "parked", sa.BigInteger(), comment="what stops it: 0 an operator, else a queue_pause; NULL: nothing"
    )
    op.add_column("queue_recipient", parked)
    resume_due = sa.Column("resume_due", sa.DateTime(timezone=True), comment="due, before it was stopped")
    op.add_column("queue_recipient", resume_due)
    op.create_table(
        "queue_pause",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False, comment="everything, site, route"),
        sa.Column("name", sa.Text(), nullable=False, comment="of the site or the route; empty for everything"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), comment="NULL: until it is lifted"),
        sa.Column("lifted_at", sa.DateTime(timezone=True), comment="over; goes when it stops no recipient any more"),
        sa.CheckConstraint("scope IN ('everything', 'site', 'route')", name=op.f("ck_queue_pause_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue_pause")),
    )
    op.create_index(
        "ix_queue_pause_standing",
        "queue_pause",
        ["scope", "name"],
        unique=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
