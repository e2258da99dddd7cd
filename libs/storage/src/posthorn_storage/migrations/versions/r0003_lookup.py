"""Tables of the lookup store."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STORED = {"fillfactor": 50, "autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_threshold": 1000}
FULL_AT = "when the bucket is full again"
ALLOWED = "the answer to the last who wanted to take"
AFTER_FULL = "after full_at; moved seldom, to keep updates HOT"
ENDS = "of each member, in the same order"
JOINED = "the answer to the last who wanted to join"
AFTER_ENDS = "after all ends; moved seldom, to keep updates HOT"


def upgrade() -> None:
    _create("lookup_counter", sa.Column("sum", sa.BigInteger(), nullable=False))
    _create(
        "lookup_limit",
        sa.Column("full_at", sa.DateTime(timezone=True), nullable=False, comment=FULL_AT),
        sa.Column("allowed", sa.Boolean(), nullable=False, comment=ALLOWED),
        until=AFTER_FULL,
    )
    _create("lookup_value", sa.Column("value", sa.LargeBinary(), nullable=False))
    _create(
        "lookup_set",
        sa.Column("members", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("ends", sa.ARRAY(sa.DateTime(timezone=True)), nullable=False, comment=ENDS),
        sa.Column("joined", sa.Boolean(), nullable=False, comment=JOINED),
        until=AFTER_ENDS,
    )


def _create(table: str, *columns: sa.Column[object], until: str | None = None) -> None:
    op.create_table(
        table,
        sa.Column("key", sa.Text(), nullable=False),
        *columns,
        sa.Column("until", sa.DateTime(timezone=True), nullable=False, comment=until),
        sa.PrimaryKeyConstraint("key", name=op.f(f"pk_{table}")),
        prefixes=["UNLOGGED"],
        postgresql_with=STORED,
    )
    op.create_index(op.f(f"ix_{table}_until"), table, ["until"])


def downgrade() -> None:
    for table in ("lookup_set", "lookup_value", "lookup_limit", "lookup_counter"):
        op.drop_table(table)
