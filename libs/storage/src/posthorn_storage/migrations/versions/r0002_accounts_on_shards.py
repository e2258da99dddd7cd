"""Accounts may live on other databases than the directory: where each lives, and whether its rows may change here.

What an account's units of work need (the quota) is in its counter row, for the directory may be elsewhere. Processes of
the version before write no quota there: a trigger fills it in until they are gone.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None
excused = {"fills-in": "one narrow row for each account, which units of work wait for no longer than for each other"}

FILL_QUOTA = """
CREATE FUNCTION fill_account_quota() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.quota IS NULL THEN
        NEW.quota := (SELECT quota FROM account WHERE id = NEW.account_id);
    END IF;
    RETURN NEW;
END $$
"""
ON_INSERT = """
CREATE TRIGGER fill_account_quota BEFORE INSERT ON account_counter
FOR EACH ROW EXECUTE FUNCTION fill_account_quota()
"""


def upgrade() -> None:
    op.create_table(
        "shard",
        sa.Column("number", sa.SmallInteger(), autoincrement=False, nullable=False, comment="0 is the directory's"),
        sa.Column("name", sa.Text(), nullable=False, comment="of the store in the settings"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_shard")),
        sa.UniqueConstraint("name", name=op.f("uq_shard_name")),
    )
    op.create_table(
        "account_move",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.SmallInteger(), nullable=False),
        sa.Column("target", sa.SmallInteger(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False, comment="copying, switched; rows go when it is over"),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("switched_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_move")),
    )
    op.add_column(
        "account", sa.Column("shard", sa.SmallInteger(), server_default="0", nullable=False, comment="where it lives")
    )
    op.add_column(
        "account",
        sa.Column("epoch", sa.BigInteger(), server_default="1", nullable=False, comment="counts its moves"),
    )
    op.add_column("removed_account", sa.Column("shard", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column(
        "account_counter",
        sa.Column("quota", sa.BigInteger(), nullable=True, comment="bytes; NULL is without limit"),
    )
    op.add_column(
        "account_counter",
        sa.Column(
            "state",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="0 live, 1 frozen, 2 lives elsewhere",
        ),
    )
    op.execute("UPDATE account_counter c SET quota = a.quota FROM account a WHERE a.id = c.account_id")
    op.execute(FILL_QUOTA)
    op.execute(ON_INSERT)
    op.drop_constraint("fk_identity_account_id", "identity", type_="foreignkey")
