"""Blobs may move to another store, and are looked at round by round: what both need to go on after a death."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "blob_stray",
        sa.Column("object", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("store", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "sweeping", sa.Boolean(), server_default="false", nullable=False, comment="no row may name it any more"
        ),
        sa.PrimaryKeyConstraint("object", name=op.f("pk_blob_stray")),
        comment="objects that no blob names: copies that are being made, and what a move left behind",
    )
    op.create_index(op.f("ix_blob_stray_at"), "blob_stray", ["at"], unique=False)
    op.create_table(
        "blob_walk",
        sa.Column("name", sa.Text(), nullable=False, comment="what walks"),
        sa.Column("position", sa.Text(), nullable=False, comment="where it goes on; empty: at the beginning"),
        sa.Column("began_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True, comment="of the round before"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_blob_walk")),
    )
