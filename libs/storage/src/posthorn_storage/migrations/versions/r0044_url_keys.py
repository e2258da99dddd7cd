"""Keys of URLs that lend rights on mailboxes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0044"
down_revision: str | None = "0043"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "url_key",
        sa.Column(
            "account_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="who lends a right by URLs"
        ),
        sa.Column("owner_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mailbox_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="of the owner"),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "owner_id", "mailbox_id", name=op.f("pk_url_key")),
    )
