"""Tables that change most are vacuumed after a bounded number of dead rows, the small ones at once."""

from collections.abc import Sequence

from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

AT_ONCE = "autovacuum_vacuum_cost_delay = 0"
SMALL_AND_HOT = f"autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 100, {AT_ONCE}"
QUEUED = f"autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, {AT_ONCE}"
PASSING = "autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1"
TABLES = {
    "account_counter": SMALL_AND_HOT,
    "lease": SMALL_AND_HOT,
    "process": SMALL_AND_HOT,
    "queue_recipient": QUEUED,
    "blob": PASSING,
    "blob_ref": PASSING,
    "change_log": PASSING,
    "delivery_seen": PASSING,
    "queue_event": PASSING,
    "queue_message": PASSING,
}


def upgrade() -> None:
    for table, parameters in TABLES.items():
        op.execute(f"ALTER TABLE {table} SET ({parameters})")
