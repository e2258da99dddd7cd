"""Certificates of the whole cluster, their keys sealed."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "certificate",
        sa.Column("name", sa.Text(), nullable=False, comment="what the operator calls it"),
        sa.Column("names", postgresql.ARRAY(sa.Text()), nullable=False, comment="host names it is shown for"),
        sa.Column("chain", sa.Text(), nullable=False, comment="PEM, the server's own first"),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False, comment="posthorn_storage.certificates.sealing"),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="file, acme"),
        sa.Column(
            "provider", sa.Text(), server_default="", nullable=False, comment="whose account with the authority got it"
        ),
        sa.Column("is_default", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False, comment="ready, revoked"),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="another one after each change"),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("source IN ('file', 'acme')", name=op.f("ck_certificate_source")),
        sa.CheckConstraint("state IN ('ready', 'revoked')", name=op.f("ck_certificate_state")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_certificate")),
    )
