"""Processes tell which schema they know, so that nothing is taken away that one of them still needs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "process",
        sa.Column("schema", sa.Text(), server_default="", nullable=False, comment="newest revision its code knows"),
    )
