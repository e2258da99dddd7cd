"""SCRAM verifiers beside the hashes of passwords."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("credential", sa.Column("scram", sa.Text(), comment="verifier of SCRAM-SHA-256, RFC 5803"))
    op.add_column(
        "credential",
        sa.Column(
            "scram_at",
            sa.DateTime(timezone=True),
            comment="equals updated_at, or the verifier is of an older password",
        ),
    )
