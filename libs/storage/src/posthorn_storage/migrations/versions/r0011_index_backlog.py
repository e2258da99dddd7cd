"""Messages that were there before the search index become its tasks, some accounts at a time.

How far that is stands in `cluster_setting`, so that a migration that was cut short goes on from there.
"""

from collections.abc import Sequence

from posthorn_storage.migrations.online import Online

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The row that is changed, and counted, is the one that says how far this is: a batch may add no task at all.
ADD = """
WITH reached AS (
    SELECT coalesce((SELECT (value #>> '{}')::bigint FROM cluster_setting WHERE name = 'index_backlog'), 0) AS account
), step AS (
    SELECT account_id FROM account_counter WHERE account_id > (SELECT account FROM reached)
    ORDER BY account_id LIMIT 50
), added AS (
    INSERT INTO index_task (account_id, message_id)
    SELECT t.account_id, t.message_id FROM step JOIN message_text t USING (account_id)
    WHERE NOT EXISTS (SELECT FROM message_index i WHERE i.account_id = t.account_id AND i.message_id = t.message_id)
    ON CONFLICT DO NOTHING
)
INSERT INTO cluster_setting (name, value)
SELECT 'index_backlog', to_jsonb(max(account_id)) FROM step HAVING count(*) > 0
ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value
"""


async def online(work: Online) -> None:
    """Account by account."""
    await work.batches(ADD)
