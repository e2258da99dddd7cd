"""The region that an account is pinned to."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "account",
        sa.Column(
            "region", sa.Text(), server_default="", nullable=False, comment="where it must live; empty: anywhere"
        ),
    )
