"""How PostgreSQL keeps the tables that change most in shape: room for updates in their pages, and how often it vacuums.

`fillfactor` under 100 leaves room in each page, so that an update that touches no index stays in it and is cleaned up
when the page is read next (HOT). What does touch an index waits for autovacuum: by default until a fifth of the table
is dead, which for a queue is many times its live rows. `cost_delay` 0: a small table is vacuumed at once.
"""

from typing import Any, Final

SMALL_AND_HOT: Final[dict[str, Any]] = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0.02,
    "autovacuum_vacuum_threshold": 100,
    "autovacuum_vacuum_cost_delay": 0,
}
"""Leases, processes, counters: narrow rows that are updated for ever."""
QUEUED: Final[dict[str, Any]] = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0.02,
    "autovacuum_vacuum_threshold": 1000,
    "autovacuum_vacuum_cost_delay": 0,
}
"""Rows that come, change a few times, at the end in an index, and go: a page has room for all its rows once more."""
OFTEN_UPDATED: Final[dict[str, Any]] = {
    "fillfactor": 70,
    "autovacuum_vacuum_scale_factor": 0.05,
    "autovacuum_analyze_scale_factor": 0.05,
}
"""Mailboxes and what is in them."""
PASSING: Final[dict[str, Any]] = {"autovacuum_vacuum_scale_factor": 0.05, "autovacuum_vacuum_insert_scale_factor": 0.1}
"""Rows that come in their order and are purged in it."""
APPENDED: Final[dict[str, Any]] = {"autovacuum_vacuum_insert_scale_factor": 0.1}
"""Rows that come and stay."""
