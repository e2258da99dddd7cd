"""Push subscriptions (RFC 8620 7.2) and the key that pushes are signed with (RFC 8292)."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _time(name: str, *, now: bool = False, comment: str | None = None) -> sa.Column[object]:
    default = {"server_default": sa.text("now()"), "nullable": False} if now else {}
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, **default)  # type: ignore[arg-type]


def upgrade() -> None:
    _subscriptions()
    op.create_table(
        "vapid_key",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False, comment="1: there is one"),
        sa.Column("public_key", sa.LargeBinary(), nullable=False, comment="a point of P-256, uncompressed"),
        sa.Column(
            "sealed_key",
            sa.LargeBinary(),
            nullable=False,
            comment="PKCS #8; posthorn_storage.certificates.sealing",
        ),
        _time("created_at", now=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vapid_key")),
    )


def _subscriptions() -> None:
    op.create_table(
        "push_subscription",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("device_client_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False, comment="of the push service; who knows it may push"),
        sa.Column(
            "p256dh", sa.LargeBinary(), comment="the client's public key (RFC 8291); NULL: pushes are not encrypted"
        ),
        sa.Column(
            "sealed_auth", sa.LargeBinary(), comment="the client's secret; posthorn_storage.certificates.sealing"
        ),
        sa.Column("code", sa.Text(), nullable=False, comment="verification code, which the client must say back"),
        sa.Column(
            "greeted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="the push service took the code",
        ),
        sa.Column(
            "verified",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="the client said it back",
        ),
        sa.Column("types", postgresql.ARRAY(sa.Text()), comment="JMAP types; NULL: all"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        _time("created_at", now=True),
        sa.Column(
            "pushed_modseq",
            sa.BigInteger(),
            nullable=False,
            comment="changes up to here were pushed, or need not be",
        ),
        _time("pushed_at"),
        _time("due", now=True, comment="not pushed to before"),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False, comment="in a row"),
        sa.Column("problem", sa.Text()),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="of the lease of who pushed last",
        ),
        sa.CheckConstraint("(p256dh IS NULL) = (sealed_auth IS NULL)", name=op.f("ck_push_subscription_keys")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_push_subscription")),
    )
    op.create_index(op.f("ix_push_subscription_expires_at"), "push_subscription", ["expires_at"], unique=False)
