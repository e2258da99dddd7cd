"""UIDs as statements take them, and that their plan is the same whatever is known of the tables."""

import pytest

from posthorn_storage import Storage
from posthorn_storage.mail.copying import CHOSEN
from posthorn_storage.mail.expunge import TAKE, TAKE_DELETED
from posthorn_storage.mail.flags import MODIFIED, SET
from posthorn_storage.mail.runs import MESSAGES, entries, runs_of
from posthorn_storage.mail.view import CHANGED


def test_uids_are_taken_as_runs() -> None:
    assert runs_of([]) == ([], [])
    assert runs_of([7]) == ([7], [7])
    assert runs_of([1, 2, 3, 5, 8, 9]) == ([1, 5, 8], [3, 5, 9])


def test_runs_ascend_and_hold_each_uid_once() -> None:
    assert runs_of([9, 2, 8, 2, 1]) == ([1, 8], [2, 9])


@pytest.mark.postgres
async def test_entries_are_looked_for_in_the_primary_keys_of_tables_of_which_nothing_is_known(storage: Storage) -> None:
    statement = f"EXPLAIN SELECT b.uid, m.envelope FROM {entries('uid, message_id')} {MESSAGES} ORDER BY b.uid"
    rows = await storage._database.fetch(statement, 1, 1, *runs_of(range(1, 10_001)))
    plan = "\n".join(row[0] for row in rows)
    assert plan.count("using pk_mailbox_message") == plan.count("using pk_message ") == 1, plan
    assert "uid >= run.low" in plan, plan
    assert plan.count("Scan") == 3, plan


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("statement", "others"),
    [
        pytest.param(CHOSEN, (), id="copy"),
        pytest.param(TAKE, (), id="move"),
        pytest.param(TAKE_DELETED, (), id="expunge"),
        pytest.param(MODIFIED, (5,), id="modified"),
        pytest.param(SET["add"], (1, [], 5, 9, 1, 1), id="store"),
    ],
)
async def test_what_changes_messages_looks_for_them_in_the_primary_key_alone(
    storage: Storage, statement: str, others: tuple[object, ...]
) -> None:
    rows = await storage._database.fetch(f"EXPLAIN {statement}", 1, 1, *runs_of(range(1, 10_001)), *others)
    plan = "\n".join(row[0] for row in rows)
    assert plan.count("using pk_mailbox_message") == plan.count("uid >= run.low") == 1, plan
    scans = [line for line in plan.splitlines() if "Scan" in line and "mailbox_message" in line]
    assert all("using pk_mailbox_message" in scan or "Tid Scan" in scan for scan in scans), plan


@pytest.mark.postgres
async def test_what_changed_is_looked_for_by_modseq(storage: Storage) -> None:
    rows = await storage._database.fetch(f"EXPLAIN {CHANGED}", 1, 1, 5)
    plan = "\n".join(row[0] for row in rows)
    assert "using ix_mailbox_message_modseq" in plan, plan
    assert "modseq > '5'" in plan, plan
    assert "Filter" not in plan, plan
