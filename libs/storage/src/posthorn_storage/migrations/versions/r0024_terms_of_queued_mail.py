"""What senders ask of queued mail: a time to arrive by, a priority, TLS on the whole way."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NO = sa.text("false")


def upgrade() -> None:
    by = sa.Column("deliver_by", sa.DateTime(timezone=True), comment="RFC 2852; NULL: no such time")
    op.add_column("queue_message", by)
    op.add_column("queue_message", sa.Column("by_mode", sa.Text(), comment="R or N, and T behind it for trace"))
    tls: sa.Column[bool] = sa.Column("require_tls", sa.Boolean(), server_default=NO, nullable=False, comment="RFC 8689")
    op.add_column("queue_message", tls)
    priority = sa.Column(
        "priority", sa.SmallInteger(), server_default="0", nullable=False, comment="RFC 6710; the highest goes first"
    )
    op.add_column("queue_recipient", priority)
    noticed: sa.Column[bool] = sa.Column(
        "noticed", sa.Boolean(), server_default=NO, nullable=False, comment="told that deliver_by is over"
    )
    op.add_column("queue_recipient", noticed)
