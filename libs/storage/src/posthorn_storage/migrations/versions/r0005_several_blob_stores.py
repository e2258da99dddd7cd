"""Blobs may lie in several object stores: each row says in which, by a number that belongs to a store's name.

What is stored before lies in number 0, the first store that is named afterwards.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "blob_store",
        sa.Column(
            "number", sa.SmallInteger(), autoincrement=False, nullable=False, comment="blob.store; never given twice"
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="in the settings; empty: opened without one"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_blob_store")),
        sa.UniqueConstraint("name", name=op.f("uq_blob_store_name")),
    )
    op.add_column(
        "blob",
        sa.Column(
            "store",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="where the object lies: blob_store.number",
        ),
    )
    op.add_column(
        "blob", sa.Column("stored_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    )
    op.alter_column(
        "blob",
        "encoding",
        existing_type=sa.SmallInteger(),
        existing_nullable=False,
        comment="a number of posthorn_storage.blobs.content",
        existing_comment="0 plain, 1 zstd",
    )
