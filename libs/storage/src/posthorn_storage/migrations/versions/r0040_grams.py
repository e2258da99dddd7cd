"""Signatures of the stored texts of messages, by which a search for substrings rules most of them out."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0040"
down_revision: str | None = "0039"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Without a value for what is there: those messages are looked through until they are indexed again.
    grams = sa.Column(
        "grams", sa.LargeBinary(), comment="which sequences of three characters the texts hold; NULL: not known"
    )
    op.add_column("message_index", grams)
    # Bits do not get smaller by compression, and are read with the row.
    op.execute("ALTER TABLE message_index ALTER COLUMN grams SET STORAGE EXTERNAL")
