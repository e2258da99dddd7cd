"""Names of mailboxes that are kept in memory: never older than the question, whoever made the change."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from posthorn_imap import mailbox_tree
from posthorn_imap.mailbox_tree import KEPT_SECONDS, OwnTrees
from posthorn_model.mail import Role
from posthorn_storage import AccountRecord, Storage, StorageSettings

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]


class Hand:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_tree_is_kept_until_something_happens_to_the_account(
    storage: Storage, storage_settings: StorageSettings, account: MakeAccount
) -> None:
    ann, bob = (await account("ann@example.org")).id, (await account("bob@example.org")).id
    trees, elsewhere = OwnTrees(storage.mail, Hand()), await Storage.open(storage_settings)
    try:
        before = await trees.of(ann)
        assert before.find("Work") is None
        await elsewhere.mail.create_mailbox(bob, "Work")
        assert await trees.of(ann) is before
        work = await elsewhere.mail.create_mailbox(ann, "Work")
        after = await trees.of(ann)
        assert await trees.of(ann) is after
        assert after.find("Work") is not None
        await elsewhere.mail.update_mailbox(ann, work.id, name="Play", subscribed=False)
        renamed = (await trees.of(ann)).find("Play")
        assert renamed is not None
        assert not renamed.box.subscribed
        await elsewhere.mail.delete_mailbox(ann, work.id, remove_messages=True)
        assert (await trees.of(ann)).find("Play") is None
    finally:
        await elsewhere.close()


async def test_a_tree_is_not_kept_for_long_and_not_without_its_account(storage: Storage, account: MakeAccount) -> None:
    ann = (await account("ann@example.org")).id
    clock = Hand()
    trees = OwnTrees(storage.mail, clock)
    first = await trees.of(ann)
    clock.now = KEPT_SECONDS
    second = await trees.of(ann)
    assert second is not first
    assert await trees.of(ann) is second
    await storage.directory.delete_account("ann@example.org")
    assert (await trees.of(ann)).count == 0


async def test_those_that_were_kept_longest_make_room(
    storage: Storage, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = (await account("ann@example.org")).id, (await account("bob@example.org")).id
    trees = OwnTrees(storage.mail, Hand())
    of_ann = await trees.of(ann)
    monkeypatch.setattr(mailbox_tree, "MAX_KEPT", of_ann.count)
    of_bob = await trees.of(bob)
    assert await trees.of(bob) is of_bob
    assert await trees.of(ann) is not of_ann


async def test_counts_of_another_process_are_told_at_once(
    imap_server: Any, account: MakeAccount, storage: Storage, storage_settings: StorageSettings
) -> None:
    ann = (await account("ann@example.org", password="secret")).id
    near = await imap_server()
    asking = await near.play("""
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK ...
C: s STATUS Archive (UIDNEXT)
S: * STATUS "Archive" (UIDNEXT 1)
S: s OK ...
C: q GETQUOTAROOT Archive
S*: q OK ...
""")
    elsewhere = await Storage.open(storage_settings)
    try:
        far = await imap_server(on=elsewhere)
        await far.play(r"""
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK ...
C\: a APPEND Archive {15+}\r\nSubject: news\r\n\r\n
S: a OK ...
""")
        await asking.play("""
C: t STATUS Archive (MESSAGES UNSEEN UIDNEXT)
S: * STATUS "Archive" (MESSAGES 1 UNSEEN 1 UIDNEXT 2)
S: t OK ...
""")
        archive = next(box for box in await storage.mail.mailboxes(ann) if box.role is Role.ARCHIVE)
        assert (await near.parts.trees.of(ann)).find("Archive").box == archive
        await far.stop()
    finally:
        await elsewhere.close()
