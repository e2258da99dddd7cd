"""DKIM keys of domains, and which domain signs a queued message."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _time(name: str, *, now: bool = False, comment: str | None = None) -> sa.Column[object]:
    default = {"server_default": sa.text("now()"), "nullable": False} if now else {}
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, **default)  # type: ignore[arg-type]


def upgrade() -> None:
    op.create_table(
        "dkim_key",
        sa.Column("domain", sa.Text(), nullable=False, comment="lower case, A-labels"),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False, comment="rsa, ed25519"),
        sa.Column("state", sa.Text(), nullable=False, comment="waiting, active, retired, removed"),
        sa.Column("public_key", sa.Text(), nullable=False, comment="the p= tag of its record"),
        sa.Column(
            "sealed_key", sa.LargeBinary(), comment="posthorn_storage.certificates.sealing; NULL: it was removed"
        ),
        _time("created_at", now=True),
        _time("published_at", comment="since when its record is known to be in DNS"),
        _time("active_at"),
        _time("retired_at"),
        _time("removed_at"),
        _time("due", now=True, comment="not looked at before"),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False, comment="in a row"),
        sa.Column("problem", sa.Text()),
        sa.CheckConstraint("algorithm IN ('rsa', 'ed25519')", name=op.f("ck_dkim_key_algorithm")),
        sa.CheckConstraint("state IN ('waiting', 'active', 'retired', 'removed')", name=op.f("ck_dkim_key_state")),
        sa.CheckConstraint("state = 'removed' OR sealed_key IS NOT NULL", name=op.f("ck_dkim_key_sealed_key")),
        sa.PrimaryKeyConstraint("domain", "selector", name=op.f("pk_dkim_key")),
    )
    op.create_index(
        "uq_dkim_key_one_of_each",
        "dkim_key",
        ["domain", "algorithm", "state"],
        unique=True,
        postgresql_where=sa.text("state IN ('waiting', 'active')"),
    )
    op.add_column(
        "queue_message", sa.Column("signing_domain", sa.Text(), comment="whose DKIM keys sign it; NULL: none")
    )
