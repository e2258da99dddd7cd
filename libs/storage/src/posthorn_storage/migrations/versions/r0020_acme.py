"""Accounts with authorities, orders under way, and the answers to their challenges (RFC 8555)."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _time(name: str, *, now: bool = False, comment: str | None = None) -> sa.Column[object]:
    default = {"server_default": sa.text("now()"), "nullable": False} if now else {}
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, **default)  # type: ignore[arg-type]


def upgrade() -> None:
    op.create_table(
        "acme_account",
        sa.Column("provider", sa.Text(), nullable=False, comment='[acme."NAME"] of the settings'),
        sa.Column("directory", sa.Text(), nullable=False, comment="URL of the authority"),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False, comment="empty: the authority has not made it yet"),
        _time("created_at", now=True),
        sa.PrimaryKeyConstraint("provider", "directory", name=op.f("pk_acme_account")),
    )
    op.create_table(
        "acme_order",
        sa.Column("name", sa.Text(), nullable=False, comment="of the certificate"),
        sa.Column("domains", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("url", sa.Text(), comment="of the order that is under way"),
        sa.Column("sealed_key", sa.LargeBinary(), comment="of the certificate that is ordered"),
        sa.Column("epoch", sa.BigInteger(), nullable=False, comment="of the lease of role/acme.renew"),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False, comment="in a row"),
        sa.Column("problem", sa.Text()),
        _time("problem_at"),
        _time("due", now=True, comment="not tried before"),
        _time("renew_at", comment="advised by the authority, or wished for"),
        _time("ask_at", comment="when the authority is to be asked again"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_acme_order")),
    )
    op.create_table(
        "acme_challenge",
        sa.Column("kind", sa.Text(), nullable=False, comment="http-01, tls-alpn-01"),
        sa.Column("key", sa.Text(), nullable=False, comment="token, host name"),
        sa.Column("order_name", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False, comment="key authorization (RFC 8555 8.1)"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_acme_challenge")),
    )
    op.create_index(op.f("ix_acme_challenge_order_name"), "acme_challenge", ["order_name"], unique=False)
