"""Mailboxes on the real PostgreSQL: names, the tree, the inbox, deletion, and what clients hear of it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from posthorn_model.errors import (
    AccountNotFound,
    AlreadyExists,
    InvalidName,
    MailboxHasChildren,
    MailboxNotEmpty,
    MailboxNotFound,
    NotPermitted,
)
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import AccountId, MailboxId, Modseq
from posthorn_model.mail import NewMessage, Role
from posthorn_storage import AccountRecord
from posthorn_storage.mail.names import MAX_DEPTH
from posthorn_storage.mail_store import MailStore

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
MakeMessage = Callable[..., NewMessage]
Check = Callable[[], Awaitable[None]]


@pytest.fixture
async def ann(account: MakeAccount) -> AccountId:
    return (await account()).id


async def role(mail: MailStore, account: AccountId, wanted: Role) -> MailboxId:
    return next(mailbox.id for mailbox in await mail.mailboxes(account) if mailbox.role is wanted)


async def test_a_mailbox_is_made_changed_and_deleted(mail: MailStore, ann: AccountId, heard: list[Changed]) -> None:
    start = await mail.state(ann)
    made = await mail.create_mailbox(ann, "Work", sort_order=7, subscribed=False)
    assert (made.name, made.parent, made.role, made.subscribed, made.sort_order) == ("Work", 0, None, False, 7)
    assert (made.uidnext, made.total, made.unseen, made.size) == (1, 0, 0, 0)
    assert heard == [Changed(ann, made.modseq, frozenset({ChangeKind.MAILBOX}))]
    assert await mail.mailbox(ann, made.id) == made
    child = await mail.create_mailbox(ann, "Cafe\u0301", made.id)
    assert child.name == "Caf\u00e9"
    renamed = await mail.update_mailbox(ann, made.id, name="Office", subscribed=True)
    assert (renamed.name, renamed.subscribed, renamed.uidvalidity) == ("Office", True, made.uidvalidity)
    heard.clear()
    assert await mail.update_mailbox(ann, made.id, name="Office") == renamed
    assert heard == []
    moved = await mail.update_mailbox(ann, child.id, parent=0)
    assert moved.parent == 0
    changes = await mail.changes(ann, ChangeKind.MAILBOX, start)
    assert (changes.created, changes.updated, changes.destroyed) == ([made.id, child.id], [], [])
    await mail.delete_mailbox(ann, child.id, remove_messages=False)
    assert (await mail.changes(ann, ChangeKind.MAILBOX, moved.modseq)).destroyed == [child.id]
    again = await mail.create_mailbox(ann, "Café")
    assert again.uidvalidity > child.uidvalidity


async def test_names_are_unique_below_one_parent(mail: MailStore, ann: AccountId) -> None:
    work = await mail.create_mailbox(ann, "Work")
    await mail.create_mailbox(ann, "Work", work.id)
    other = await mail.create_mailbox(ann, "Other")
    for attempt in (
        mail.create_mailbox(ann, "Work"),
        mail.update_mailbox(ann, other.id, name="Work"),
        mail.create_mailbox(ann, "inBox"),
        mail.create_mailbox(ann, "Bin", role=Role.TRASH),
        mail.update_mailbox(ann, other.id, role=Role.SENT),
    ):
        with pytest.raises(AlreadyExists):
            await attempt
    results = await asyncio.gather(*(mail.create_mailbox(ann, "Race") for _ in range(6)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["AlreadyExists"] * 5 + ["Mailbox"]
    assert (await mail.create_mailbox(ann, "INBOX", work.id)).name == "INBOX"


@pytest.mark.parametrize(
    "name", ["", " ", " x", "x ", "a/b", "a\nb", "a\x7fb", "\0", "a\0b", "x" * 256, "ä" * 128, "x" * 10**6]
)
async def test_names_that_cannot_be_stored(mail: MailStore, ann: AccountId, name: str) -> None:
    with pytest.raises(InvalidName):
        await mail.create_mailbox(ann, name)


async def test_the_tree_has_no_cycles_and_an_end(mail: MailStore, ann: AccountId) -> None:
    chain = [await mail.create_mailbox(ann, "1")]
    while len(chain) < MAX_DEPTH:
        chain.append(await mail.create_mailbox(ann, str(len(chain) + 1), chain[-1].id))
    other = await mail.create_mailbox(ann, "other")
    for attempt in (
        mail.create_mailbox(ann, "deeper", chain[-1].id),
        mail.update_mailbox(ann, chain[0].id, parent=chain[0].id),
        mail.update_mailbox(ann, chain[0].id, parent=chain[-1].id),
        mail.update_mailbox(ann, chain[0].id, parent=other.id),
    ):
        with pytest.raises(InvalidName):
            await attempt
    await mail.update_mailbox(ann, chain[1].id, parent=other.id)
    with pytest.raises(MailboxHasChildren):
        await mail.delete_mailbox(ann, other.id, remove_messages=True)


async def test_the_inbox_stays(mail: MailStore, ann: AccountId) -> None:
    inbox = await role(mail, ann, Role.INBOX)
    for attempt in (
        mail.delete_mailbox(ann, inbox, remove_messages=True),
        mail.update_mailbox(ann, inbox, name="Other"),
        mail.update_mailbox(ann, inbox, role=None),
        mail.update_mailbox(ann, inbox, parent=await role(mail, ann, Role.SENT)),
    ):
        with pytest.raises(NotPermitted):
            await attempt
    assert (await mail.update_mailbox(ann, inbox, sort_order=99)).sort_order == 99


async def test_renaming_the_inbox_moves_its_messages(
    mail: MailStore, ann: AccountId, new_message: MakeMessage, check_sums: Check
) -> None:
    inbox = await role(mail, ann, Role.INBOX)
    await mail.append([new_message(ann, text=str(n), flags=SystemFlag(n)) for n in range(3)])
    before = await mail.view(ann, inbox)
    made = await mail.rename_inbox(ann, "Old mail")
    assert (made.name, made.total, made.unseen, made.uidnext) == ("Old mail", 3, 2, 4)
    after = await mail.view(ann, inbox, before.modseq)
    assert (after.entries, after.expunged, after.mailbox.uidnext) == ([], [1, 2, 3], 4)
    moved = await mail.entries(ann, made.id)
    assert [(e.message, e.flags) for e in moved] == [(e.message, e.flags) for e in before.entries]
    with pytest.raises(AlreadyExists):
        await mail.rename_inbox(ann, "Old mail")
    await check_sums()


async def test_deleting_a_mailbox_deletes_what_is_only_there(
    mail: MailStore, ann: AccountId, new_message: MakeMessage, check_sums: Check
) -> None:
    inbox = await role(mail, ann, Role.INBOX)
    work = await mail.create_mailbox(ann, "Work")
    only, both = await mail.append([new_message(ann, work.id, text="1"), new_message(ann, work.id, inbox, text="2")])
    with pytest.raises(MailboxNotEmpty):
        await mail.delete_mailbox(ann, work.id, remove_messages=False)
    state = await mail.state(ann)
    await mail.delete_mailbox(ann, work.id, remove_messages=True)
    changes = await mail.changes(ann, ChangeKind.EMAIL, state)
    assert (changes.created, changes.updated, changes.destroyed) == ([], [both.message], [only.message])
    assert (await mail.changes(ann, ChangeKind.THREAD, state)).destroyed == [only.thread]
    for gone in (mail.mailbox(ann, work.id), mail.view(ann, work.id), mail.take_recent(ann, work.id)):
        with pytest.raises(MailboxNotFound):
            await gone
    assert (await mail.quota(ann))[:2] == (1000, 1)
    await check_sums()


async def test_unknown_mailboxes_and_accounts(mail: MailStore, ann: AccountId, account: MakeAccount) -> None:
    bob = (await account("bob@example.org")).id
    inbox = await role(mail, ann, Role.INBOX)
    nowhere, nobody = MailboxId(10**15), AccountId(10**15)
    for attempt in (
        mail.mailbox(bob, inbox),
        mail.view(bob, inbox),
        mail.expunge(bob, inbox, only_deleted=False),
        mail.set_flags(bob, inbox, [1], op="add", system=SystemFlag.SEEN),
        mail.copy(ann, inbox, [1], nowhere),
        mail.move(ann, nowhere, [1], inbox),
        mail.create_mailbox(ann, "x", nowhere),
        mail.update_mailbox(ann, inbox, parent=nowhere),
        mail.delete_mailbox(bob, inbox, remove_messages=True),
        mail.expunged(bob, inbox, Modseq(1)),
        mail.snapshot(bob, inbox),
    ):
        with pytest.raises((MailboxNotFound, NotPermitted)):
            await attempt
    for attempt in (mail.state(nobody), mail.create_mailbox(nobody, "x"), mail.quota(nobody)):
        with pytest.raises(AccountNotFound):
            await attempt
    assert await mail.mailboxes(nobody) == []
    assert await mail.modseqs([ann, nobody]) == {ann: await mail.state(ann)}


async def test_recent_messages_are_recent_once(mail: MailStore, ann: AccountId, new_message: MakeMessage) -> None:
    inbox = await role(mail, ann, Role.INBOX)
    assert await mail.take_recent(ann, inbox) == 1
    await mail.append([new_message(ann, text="1"), new_message(ann, text="2")])
    taken = await asyncio.gather(*(mail.take_recent(ann, inbox) for _ in range(4)))
    assert sorted(taken) == [1, 3, 3, 3]


async def test_modseqs_of_mailboxes_follow_what_happens_in_them(
    mail: MailStore, ann: AccountId, new_message: MakeMessage
) -> None:
    before = await mail.mailbox_modseqs(ann)
    inbox = await role(mail, ann, Role.INBOX)
    (appended,) = await mail.append([new_message(ann)])
    after = await mail.mailbox_modseqs(ann)
    assert {mailbox for mailbox, modseq in after.items() if modseq != before[mailbox]} == {inbox}
    assert after[inbox] == appended.modseq == (await mail.snapshot(ann, inbox))[1]


async def test_special_uses_of_several_accounts_at_once(mail: MailStore, ann: AccountId, account: MakeAccount) -> None:
    bob = (await account("bob@example.org")).id
    junk = await role(mail, ann, Role.JUNK)
    await mail.update_mailbox(bob, await role(mail, bob, Role.JUNK), role=None)
    assert await mail.mailboxes_with(Role.JUNK, [ann, bob, AccountId(1 << 40)]) == {ann: junk}
    assert await mail.mailboxes_with(Role.JUNK, []) == {}
