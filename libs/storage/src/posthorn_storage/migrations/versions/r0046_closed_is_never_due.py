"""Recipients that are closed are due at no time, and pages of the queue have room for updates that write no index."""

from collections.abc import Sequence

from alembic import op

revision: str = "0046"
down_revision: str | None = "0045"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHECK = (
    "ALTER TABLE queue_recipient ADD CONSTRAINT ck_queue_recipient_due CHECK (due IS NOT NULL OR state > 1) NOT VALID"
)


def upgrade() -> None:
    op.execute("ALTER TABLE queue_recipient ALTER COLUMN due DROP NOT NULL")
    op.execute(CHECK)
    op.execute("ALTER TABLE queue_recipient SET (fillfactor = 50)")
    op.execute("COMMENT ON COLUMN queue_recipient.due IS 'NULL: nothing will be tried any more'")
