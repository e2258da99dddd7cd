"""The checker finds each kind of wrong, names it, and finds nothing where nothing is wrong."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from posthorn_model.ids import AccountId, BlobKey
from posthorn_storage import Storage
from posthorn_storage.blobs.attach import attach, refer
from posthorn_storage.check import ACCOUNT_RULES, Finding

pytestmark = pytest.mark.postgres

HARM = {
    "mailbox-counts": "UPDATE mailbox SET total = total + 1, unseen = 0 WHERE account_id = $1 AND role = 'inbox'",
    "account-counts": "UPDATE account_counter SET used_bytes = used_bytes + 1 WHERE account_id = $1",
    "uid-order": "UPDATE mailbox SET uidnext = 1 WHERE account_id = $1 AND role = 'inbox'",
    "modseq-order": "UPDATE account_counter SET modseq = 1 WHERE account_id = $1",
    "untold-message": "DELETE FROM change_log WHERE account_id = $1 AND kind = 2",
    "homeless-message": "DELETE FROM mailbox_message WHERE account_id = $1 AND uid = 1",
    "entry-without-message": "UPDATE mailbox_message SET size = size + 1 WHERE account_id = $1 AND uid = 1",
    "mailbox-tree": "UPDATE mailbox SET parent_id = 999999 WHERE account_id = $1 AND role = 'trash'",
    "search-text": "DELETE FROM message_text WHERE account_id = $1",
    "search-index": "DELETE FROM index_task WHERE account_id = $1",
    "thread-key": "UPDATE thread_key SET thread_id = 999999 WHERE account_id = $1",
    "message-blob": "DELETE FROM blob_ref WHERE account_id = $1 AND kind = 1",
    "stray-reference": "UPDATE blob_ref SET ref_id = ref_id + 999999 WHERE account_id = $1 AND kind = 1",
    "item-collection": (
        "INSERT INTO item (account_id, collection_id, name, uid, etag, content_type, component, modseq, content) "
        "VALUES ($1, 999999, 'x', 'x', 'x', 'text/calendar', 'VEVENT', 1, '')"
    ),
}


async def found_in(storage: Storage) -> list[Finding]:
    return [finding async for step in storage.check.accounts() for finding in step.findings]


@pytest.fixture
async def ann(storage: Storage, account: Callable[..., Awaitable[Any]], new_message: Callable[..., Any]) -> AccountId:
    """An account with two messages; somebody else has one too."""
    made = AccountId((await account("ann@example.org")).id)
    other = (await account("bob@example.org")).id
    for owner, text in ((made, "one"), (made, "two"), (other, "three")):
        await storage.mail.deliver(new_message(owner, text=text, message_id=f"{text}@x"))
    return made


@pytest.mark.parametrize("rule", [rule.name for rule in ACCOUNT_RULES])
async def test_each_harm_is_found_where_it_was_done(storage: Storage, ann: AccountId, rule: str) -> None:
    assert await found_in(storage) == []
    await storage._database.execute(HARM[rule], ann)
    found = await found_in(storage)
    assert rule in {finding.rule.name for finding in found}
    assert {finding.account for finding in found} == {ann}
    assert all(finding.where for finding in found)
    assert list((await storage.check.account(ann)).findings) == found


async def test_a_queued_message_holds_its_blob(storage: Storage, ann: AccountId) -> None:
    assert (await storage.check.queue()).findings == []
    await storage._database.execute(
        "INSERT INTO queue_message (sender, blob_key, size, smtputf8, eight_bit) VALUES ('', $1, 1, false, false)",
        bytes(32),
    )
    (finding,) = (await storage.check.queue()).findings
    assert finding.rule.name == "queue-blob"
    assert finding.account is None


def lose(folder: Path, key: BlobKey) -> None:
    next(folder.rglob(f"{key.hex()}*")).unlink()


def damage(folder: Path, key: BlobKey) -> None:
    next(folder.rglob(f"{key.hex()}*")).write_bytes(b"something else")


async def test_objects_that_are_missing_or_damaged_are_found(storage: Storage, tmp_path: Path) -> None:
    async def blob_findings(*, content: bool) -> list[tuple[str, str]]:
        steps = [step async for step in storage.check.blobs(content=content)]
        return sorted((finding.rule.name, finding.where["blob"]) for step in steps for finding in step.findings)

    blobs = [await storage.blobs.prepare(os.urandom(100_000)) for _ in range(3)]
    small = await storage.blobs.prepare(b"small")
    async with storage._database.transaction() as connection:
        await attach(connection, [small])
        await refer(connection, 3, [small.key], [1], [0])
    assert await blob_findings(content=False) == await blob_findings(content=True) == []
    assert (await storage.check.count(content=False))[1] == 3
    assert (await storage.check.count(content=True))[1] == 4
    lose(tmp_path, blobs[0].key)
    damage(tmp_path, blobs[1].key)
    await storage._database.execute("UPDATE blob SET inline = 'wrong' WHERE key = $1", small.key)
    missing = ("blob-missing", blobs[0].key.hex())
    assert await blob_findings(content=False) == [missing]
    damaged = [("blob-damaged", key.hex()) for key in (blobs[1].key, small.key)]
    assert await blob_findings(content=True) == sorted([missing, *damaged])
    # What was collected meanwhile is no finding.
    await storage._database.execute("UPDATE blob SET state = 2 WHERE key = $1", blobs[0].key)
    assert await blob_findings(content=False) == []
