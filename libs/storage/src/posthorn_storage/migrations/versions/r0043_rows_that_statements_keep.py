"""References of blobs and the time line of the queue are kept by statements: a foreign key looks up row by row.

The trigger stands for the cascade, for processes of the version before, too: it goes through all rows at once.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0043"
down_revision: str | None = "0042"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FORGET = """
CREATE FUNCTION forget_queue_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM queue_event e USING gone g WHERE e.message_id = g.id;
    RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER queue_message_gone AFTER DELETE ON queue_message REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION forget_queue_events()
"""


def upgrade() -> None:
    op.execute(FORGET)
    op.execute(TRIGGER)
    op.execute("ALTER TABLE queue_event DROP CONSTRAINT IF EXISTS fk_queue_event_message_id")
    op.execute("ALTER TABLE blob_ref DROP CONSTRAINT IF EXISTS fk_blob_ref_blob_key")
