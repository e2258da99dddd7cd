"""The operator's wish in the row of a process, which it reads with its heartbeat."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "process",
        sa.Column("wish", sa.Text(), server_default="", nullable=False, comment="of the operator: drain"),
    )
