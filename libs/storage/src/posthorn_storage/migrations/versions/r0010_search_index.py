"""The search index and its tasks. Triggers make a task of every message from now on; the next revision those before.

The triggers stand for processes of the version before, too, which know nothing of the index.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ADD = """
CREATE FUNCTION add_index_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO index_task (account_id, message_id) SELECT account_id, message_id FROM came ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$
"""
# The task first: that waits for a worker which is just writing the words, and the second statement then sees them.
FORGET = """
CREATE FUNCTION forget_index() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM index_task t USING gone g WHERE t.account_id = g.account_id AND t.message_id = g.message_id;
    DELETE FROM message_index i USING gone g WHERE i.account_id = g.account_id AND i.message_id = g.message_id;
    RETURN NULL;
END $$
"""
TRIGGERS = (
    """
    CREATE TRIGGER message_text_came AFTER INSERT ON message_text REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION add_index_task()
    """,
    """
    CREATE TRIGGER message_text_gone AFTER DELETE ON message_text REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION forget_index()
    """,
    # Of these two the one with the smaller name runs first.
    """
    CREATE TRIGGER message_text_moved_1 AFTER UPDATE ON message_text REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION forget_index()
    """,
    """
    CREATE TRIGGER message_text_moved_2 AFTER UPDATE ON message_text REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION add_index_task()
    """,
)


def upgrade() -> None:
    op.create_table(
        "index_task",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "state",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="see posthorn_storage.index.tasks",
        ),
        sa.Column("due", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False, comment="of the last claimant's lease"),
        sa.Column("attempt", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True, comment="why the last attempt failed"),
        sa.PrimaryKeyConstraint("account_id", "message_id", name=op.f("pk_index_task")),
        postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_threshold": 1000},
    )
    op.create_index("ix_index_task_due", "index_task", ["state", "due"], unique=False)
    op.create_table(
        "message_index",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False, comment="of the form of `words`"),
        sa.Column("language", sa.Text(), nullable=False, comment="whose word forms are in it"),
        sa.Column("problem", sa.Text(), nullable=True, comment="what could not be read"),
        sa.Column("indexed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "words", postgresql.TSVECTOR(), nullable=False, comment="every word begins with the account's number"
        ),
        sa.PrimaryKeyConstraint("account_id", "message_id", name=op.f("pk_message_index")),
        postgresql_with={"autovacuum_vacuum_insert_scale_factor": 0.1},
    )
    op.create_index(
        "ix_message_index_words",
        "message_index",
        ["words"],
        unique=False,
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    op.execute(ADD)
    op.execute(FORGET)
    for trigger in TRIGGERS:
        op.execute(trigger)
