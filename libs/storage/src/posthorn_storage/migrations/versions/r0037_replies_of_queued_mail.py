"""Time lines with classes of replies and owners of leases; how many notices of delay a sender had."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0037"
down_revision: str | None = "0036"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    notices: sa.Column[int] = sa.Column(
        "notices", sa.SmallInteger(), server_default="0", nullable=False, comment="of delay, sent"
    )
    op.add_column("queue_recipient", notices)
    kind: sa.Column[str] = sa.Column(
        "reply_class", sa.Text(), server_default="", nullable=False, comment="of a refusal: mailbox-full, spam ..."
    )
    op.add_column("queue_event", kind)
    owner: sa.Column[str] = sa.Column(
        "owner", sa.Text(), server_default="", nullable=False, comment="of the lease: the boot id of a process"
    )
    op.add_column("queue_event", owner)
