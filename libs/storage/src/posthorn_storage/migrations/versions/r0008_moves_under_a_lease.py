"""Who moves an account, and who froze it: a move cut short can be told from one under way."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "account_move",
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False, comment="of the mover's lease"),
    )
    op.add_column("account_counter", sa.Column("move_epoch", sa.BigInteger(), comment="of who froze it"))
