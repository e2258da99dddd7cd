"""TLS reports that are to be sent."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0035"
down_revision: str | None = "0034"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

PASSING = {"autovacuum_vacuum_scale_factor": 0.05, "autovacuum_vacuum_insert_scale_factor": 0.1}


def upgrade() -> None:
    op.create_table(
        "tls_report",
        sa.Column("day", sa.Date(), nullable=False, comment="UTC"),
        sa.Column("domain", sa.Text(), nullable=False, comment="of the recipients, in A-labels"),
        sa.Column(
            "policy",
            postgresql.JSONB(),
            nullable=False,
            comment="where it wants reports to: reports_to, a list of URIs",
        ),
        sa.Column("due", sa.DateTime(timezone=True), nullable=False, comment="not sent before"),
        sa.Column("ended_at", sa.DateTime(timezone=True), comment="it was sent, or will never be"),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False, comment="in a row"),
        sa.Column("problem", sa.Text()),
        sa.PrimaryKeyConstraint("day", "domain", name=op.f("pk_tls_report")),
    )
    op.create_index("ix_tls_report_due", "tls_report", ["due"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_table(
        "tls_result",
        sa.Column("day", sa.Date(), nullable=False, comment="UTC"),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False, comment="SHA-256 of the facts"),
        sa.Column("facts", postgresql.JSONB(), nullable=False, comment="posthorn_model.tls_reports.TlsSession"),
        sa.Column("count", sa.BigInteger(), nullable=False, comment="sessions"),
        sa.PrimaryKeyConstraint("day", "domain", "key", name=op.f("pk_tls_result")),
        postgresql_with=PASSING,
    )
