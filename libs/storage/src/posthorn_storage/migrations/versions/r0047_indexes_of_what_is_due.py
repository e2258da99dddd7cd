"""The indexes of what is due name no state any more, so that the start of an attempt writes no index.

Statements of the version before find what is due by them too: what is due at some time is due.
"""

from collections.abc import Sequence

from posthorn_storage.migrations.online import Online

revision: str = "0047"
down_revision: str | None = "0046"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# How far it is stands in `cluster_setting`, so that a migration that was cut short goes on from there.
CLOSE = """
WITH reached AS (
    SELECT coalesce((SELECT (value #>> '{}')::bigint FROM cluster_setting WHERE name = 'closed_is_never_due'), 0) AS id
), step AS (
    SELECT id FROM queue_recipient WHERE id > (SELECT id FROM reached) ORDER BY id LIMIT 5000
), closed AS (
    UPDATE queue_recipient r SET due = NULL FROM step WHERE r.id = step.id AND r.state > 1 AND r.due IS NOT NULL
)
INSERT INTO cluster_setting (name, value)
SELECT 'closed_is_never_due', to_jsonb(max(id)) FROM step HAVING count(*) > 0
ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value
"""
OPEN = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_queue_recipient_open ON queue_recipient (shard, due)
WHERE due IS NOT NULL
"""
PRIORITY = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_queue_recipient_open_priority ON queue_recipient (shard, priority, due)
WHERE due IS NOT NULL AND priority <> 0
"""


async def online(work: Online) -> None:
    await work.batches(CLOSE)
    await work.index("ix_queue_recipient_open", OPEN)
    await work.index("ix_queue_recipient_open_priority", PRIORITY)
    await work.step("ALTER TABLE queue_recipient VALIDATE CONSTRAINT ck_queue_recipient_due")
