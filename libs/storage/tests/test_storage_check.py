"""The checker finds each kind of wrong, names it, and finds nothing where nothing is wrong."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from posthorn_model.errors import CannotCalculateChanges
from posthorn_model.events import ChangeKind
from posthorn_model.groupware import CollectionKind
from posthorn_model.ids import AccountId, BlobKey, MailboxId
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_model.rights import Right
from posthorn_storage import Storage
from posthorn_storage.blobs.attach import attach, refer
from posthorn_storage.check import (
    ACCOUNT_RULES,
    BLOB_RULES,
    DATABASE_RULES,
    HISTORY_RULES,
    HOME_REPAIRS,
    HOME_RULES,
    REPAIRS,
    SUM_REPAIRS,
    Finding,
    Rule,
)
from posthorn_storage.groupware import NewItem
from posthorn_storage.mail.rights import RightsEntry

pytestmark = [pytest.mark.postgres, pytest.mark.leaves_rows]

IN_INBOX = "account_id = $1 AND mailbox_id = (SELECT id FROM mailbox WHERE account_id = $1 AND role = 'inbox')"
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
    "stray-reference": (
        "INSERT INTO blob_ref (blob_key, kind, account_id, ref_id) "
        "SELECT blob_key, 1, $1, id + 999999 FROM message WHERE account_id = $1"
    ),
    "item-collection": (
        "UPDATE collection SET modseq = 1 WHERE account_id = $1 AND id IN (SELECT collection_id FROM item)"
    ),
    "destroyed-returned": (
        "INSERT INTO change_log (account_id, kind, modseq, object_id, op) "
        "SELECT $1, 2, modseq, (SELECT min(id) FROM message WHERE account_id = $1), 3 FROM account_counter "
        "WHERE account_id = $1"
    ),
    "uid-returned": (
        "INSERT INTO change_log (account_id, kind, modseq, object_id, op, container_id, uid) "
        "SELECT account_id, 20, modseq, message_id, 3, mailbox_id, uid FROM mailbox_message "
        "WHERE account_id = $1 AND uid = 1"
    ),
    "modseq-shared": f"UPDATE mailbox_message SET modseq = (SELECT max(modseq) FROM mailbox_message) WHERE {IN_INBOX}",
    "untold-entry": (
        f"UPDATE mailbox_message SET modseq = (SELECT modseq FROM mailbox WHERE id = mailbox_id) - 1 WHERE {IN_INBOX} "
        "AND uid = 2"
    ),
    "untold-item": "DELETE FROM change_log WHERE account_id = $1 AND kind = 7",
    "no-inbox": "UPDATE mailbox SET role = NULL WHERE account_id = $1 AND role = 'inbox'",
    "right-without-mailbox": (
        "INSERT INTO mailbox_right (account_id, mailbox_id, grantee_id, negative, rights) "
        "VALUES ($1, 999999, $1, true, 1)"
    ),
    "share-not-found": "DELETE FROM share WHERE owner_id = $1",
    "nobodys-rows": "DELETE FROM account WHERE id = $1",
}
MORE_HARM = (
    "DELETE FROM message WHERE account_id = $1 AND id = (SELECT min(id) FROM message WHERE account_id = $1)",
    "UPDATE mailbox SET parent_id = id WHERE account_id = $1 AND role = 'trash'",
    "UPDATE mailbox SET parent_id = 999999, name = 'Drafts' WHERE account_id = $1 AND role = 'trash'",
    "UPDATE mailbox SET name = 'Elsewhere', role = NULL WHERE account_id = $1 AND role = 'inbox'",
    "DELETE FROM mailbox WHERE account_id = $1 AND role = 'inbox'",
    "DELETE FROM mailbox_message WHERE account_id = $1",
    "DELETE FROM change_log WHERE account_id = $1",
    "UPDATE mailbox SET total = 0, unseen = 0, deleted = 0, size = 0, uidnext = 1, modseq = 1 WHERE account_id = $1",
    "UPDATE mailbox_message SET modseq = modseq + 1000 WHERE account_id = $1",
)
"""What breaks several rules at once; it is repaired all the same."""
SHARED_HARM = {
    "queue-blob": "DELETE FROM blob_ref WHERE kind = 2",
    "queue-unfinished": "UPDATE queue_recipient SET state = 2",
    "queue-done-too-early": "UPDATE queue_message SET done_at = now()",
    "queue-abandoned": "UPDATE queue_recipient SET state = 1, since = now() - interval '4 hours'",
    "stray-queue-reference": "UPDATE blob_ref SET ref_id = ref_id + 999999 WHERE kind = 2",
    "account-outside-its-region": "UPDATE account SET region = 'eu'",
    "alias-of-account": "INSERT INTO alias SELECT 'ann@example.org', max(id) FROM account",
    "account-without-rows": "DELETE FROM account_counter WHERE account_id = (SELECT max(id) FROM account)",
    "leaked-blob": "DELETE FROM blob_ref WHERE kind = 3",
    "reference-to-nothing": "UPDATE blob SET state = 2 WHERE key IN (SELECT blob_key FROM blob_ref WHERE kind = 3)",
}
EVERY_RULE = (*ACCOUNT_RULES, *HISTORY_RULES, *HOME_RULES)
REPAIRED = {*REPAIRS, *HOME_REPAIRS, *SUM_REPAIRS, "uid-order", "modseq-shared"}
REPAIRED_SHARED = {"queue-blob", "queue-unfinished", "stray-queue-reference", "leaked-blob"}


async def found_in(storage: Storage) -> list[Finding]:
    return [finding async for step in storage.check.accounts() for finding in step.findings]


async def found_in_shared(storage: Storage) -> list[Finding]:
    found = list((await storage.check.queue()).findings)
    return found + [finding async for step in storage.check.references() for finding in step.findings]


@pytest.fixture
async def ann(storage: Storage, account: Callable[..., Awaitable[Any]], new_message: Callable[..., Any]) -> AccountId:
    """An account with two messages, an event and a shared mailbox; somebody else has a message too."""
    made = AccountId((await account("ann@example.org")).id)
    other = (await account("bob@example.org")).id
    for owner, text in ((made, "one"), (made, "two"), (other, "three")):
        await storage.mail.deliver(new_message(owner, text=text, message_id=f"{text}@x"))
    calendar = await storage.groupware.collection(made, CollectionKind.CALENDAR, "default")
    await storage.groupware.put_item(made, calendar.id, NewItem("a.ics", "a", "text/calendar", b"BEGIN", "VEVENT"))
    box = await storage.mail.create_mailbox(made, "Shared")
    await storage.mail.set_rights(made, box.id, RightsEntry(other, Right.READ))
    return made


@pytest.mark.parametrize("rule", EVERY_RULE, ids=lambda rule: rule.name)
async def test_each_harm_is_found_and_put_right(storage: Storage, ann: AccountId, rule: Rule) -> None:
    """It is found where it was done; repaired, nothing is wrong any more, and nothing is lost."""
    assert await found_in(storage) == []
    before = await held_by(storage, ann)
    await storage._database.execute(HARM[rule.name], ann)
    found = await found_in(storage)
    assert rule.name in {finding.rule.name for finding in found}
    assert {finding.account for finding in found} == {ann}
    assert all(finding.where or rule.name in ("no-inbox", "nobodys-rows") for finding in found)
    assert sorted(map(repr, (await storage.check.account(ann)).findings)) == sorted(map(repr, found))
    if rule.name not in REPAIRED:
        assert rule.advice
        return
    assert await storage.check.repair(ann)
    assert await found_in(storage) == []
    assert await held_by(storage, ann) == before
    assert await storage.check.repair(ann) == {}


@pytest.mark.parametrize("statement", MORE_HARM)
async def test_what_breaks_several_rules_is_put_right(storage: Storage, ann: AccountId, statement: str) -> None:
    await storage._database.execute(statement, ann)
    assert await found_in(storage) != []
    await storage.check.repair(ann)
    assert [finding.rule.name for finding in await found_in(storage)] == []


async def inbox_of(storage: Storage, account: AccountId) -> MailboxId:
    return next(box.id for box in await storage.mail.mailboxes(account) if box.role == "inbox")


async def held_by(storage: Storage, account: AccountId) -> list[object]:
    """The messages an account has."""
    rows = await storage._database.fetch("SELECT id FROM message WHERE account_id = $1 ORDER BY id", account)
    return [row["id"] for row in rows]


async def test_clients_see_what_was_repaired(storage: Storage, ann: AccountId) -> None:
    inbox = await inbox_of(storage, ann)
    view = await storage.mail.view(ann, inbox)
    state = await storage.mail.state(ann)
    for harm in ("mailbox-counts", "homeless-message", "untold-item", "mailbox-tree"):
        await storage._database.execute(HARM[harm], ann)
    await storage.check.repair(ann)
    after = await storage.mail.view(ann, inbox, view.modseq)
    assert after.modseq > view.modseq
    assert (await storage.mail.mailbox(ann, inbox)).total == 2
    changed = await storage.mail.changes(ann, ChangeKind.MAILBOX, state)
    trash = next(box.id for box in await storage.mail.mailboxes(ann) if box.role == "trash")
    assert set(changed.updated) == {inbox, trash}
    assert len((await storage.mail.changes(ann, ChangeKind.EMAIL, state)).updated) == 1
    assert len((await storage.mail.changes(ann, ChangeKind.CALENDAR_EVENT, state)).updated) == 1


async def test_a_message_whose_uid_came_back_gets_another(storage: Storage, ann: AccountId) -> None:
    inbox = await inbox_of(storage, ann)
    state = await storage.mail.state(ann)
    await storage._database.execute(HARM["uid-returned"], ann)
    assert (await storage.check.repair(ann))["uid-returned"] == 1
    assert [entry.uid for entry in await storage.mail.entries(ann, inbox)] == [2, 3]
    assert await storage.mail.expunged(ann, inbox, state) == [1]


async def test_a_client_of_a_log_that_lies_starts_over(storage: Storage, ann: AccountId) -> None:
    state = await storage.mail.state(ann)
    await storage._database.execute(HARM["destroyed-returned"], ann)
    await storage.check.repair(ann)
    with pytest.raises(CannotCalculateChanges):
        await storage.mail.changes(ann, ChangeKind.EMAIL, state)


@pytest.fixture
async def shared(storage: Storage, ann: AccountId) -> None:
    """A message in the queue and an upload."""
    waiting = NewQueueMessage(
        "ann@example.org", await storage.blobs.prepare(b"queued"), [NewRecipient("x@example.net", "example.net")]
    )
    await storage.queue.enqueue(waiting)
    await storage.blobs.upload(ann, b"uploaded")


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("rule", [*DATABASE_RULES, *BLOB_RULES], ids=lambda rule: rule.name)
async def test_each_harm_to_what_is_shared_is_found_and_put_right(storage: Storage, rule: Rule) -> None:
    assert await found_in_shared(storage) == []
    await storage._database.execute(SHARED_HARM[rule.name])
    assert rule.name in {finding.rule.name for finding in await found_in_shared(storage)}
    repaired = await storage.check.repair_shared()
    if rule.name in REPAIRED_SHARED:
        assert rule.name in repaired
        assert await found_in_shared(storage) == []
    else:
        assert rule.advice
        assert rule.name in {finding.rule.name for finding in await found_in_shared(storage)}


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    "which", ["WHERE key IN (SELECT blob_key FROM blob_ref WHERE kind = 3)", ""], ids=["one", "all"]
)
async def test_a_reference_to_a_blob_that_is_not_there_is_found(storage: Storage, which: str) -> None:
    await storage._database.execute(f"DELETE FROM blob {which}")
    assert "reference-to-nothing" in {finding.rule.name for finding in await found_in_shared(storage)}


@pytest.mark.usefixtures("shared")
async def test_a_repair_never_holds_a_blob_that_is_being_removed(storage: Storage, ann: AccountId) -> None:
    await storage._database.execute("DELETE FROM blob_ref WHERE kind IN (1, 2)")
    await storage._database.execute("UPDATE blob SET state = 2")
    await storage.check.repair(ann)
    await storage.check.repair_shared()
    assert await storage._database.fetchval("SELECT count(*) FROM blob_ref WHERE kind IN (1, 2)") == 0
    assert {"message-blob", "queue-blob"} <= {
        finding.rule.name for finding in [*await found_in(storage), *await found_in_shared(storage)]
    }


async def test_rows_of_an_account_that_lives_elsewhere_are_left_alone(storage: Storage, ann: AccountId) -> None:
    await storage._database.execute("DELETE FROM message WHERE account_id = $1", ann)
    assert await found_in(storage) != []
    await storage._database.execute("UPDATE account_counter SET state = 2 WHERE account_id = $1", ann)
    assert await found_in(storage) == []
    assert (await storage.check.count(content=False))[0] == 1


def test_each_rule_has_a_repair_or_advice() -> None:
    every = (*EVERY_RULE, *DATABASE_RULES, *BLOB_RULES)
    assert {rule.name for rule in every} == {*HARM, *SHARED_HARM}
    assert len({rule.name for rule in every}) == len(every)
    for rule in every:
        assert rule.advice or rule.name in REPAIRED | REPAIRED_SHARED, rule.name


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
