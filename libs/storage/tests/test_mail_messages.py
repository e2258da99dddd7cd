"""Flags, copies, expunging, updates and changes of messages on the real PostgreSQL."""

from collections.abc import Awaitable, Callable

import pytest

from posthorn_model.errors import (
    CannotCalculateChanges,
    InvalidKeyword,
    MailboxNotFound,
    MessageNotFound,
    NotPermitted,
    OverQuota,
)
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.flags import MAX_KEYWORDS, NO_FLAGS, Flags, SystemFlag
from posthorn_model.ids import AccountId, MailboxId, MessageId, Modseq
from posthorn_model.mail import Appended, NewMessage, Role
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.mail import MessageFields, MessageUpdate
from posthorn_storage.mail_store import MailStore

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
MakeMessage = Callable[..., NewMessage]
Check = Callable[[], Awaitable[None]]
SEEN, FLAGGED, DELETED, DRAFT = SystemFlag.SEEN, SystemFlag.FLAGGED, SystemFlag.DELETED, SystemFlag.DRAFT
X, XY = frozenset({"x"}), frozenset({"x", "y"})


class Box:
    """An account with five messages in its inbox, UIDs 1 to 5."""

    def __init__(self, mail: MailStore, account: AccountId, inbox: MailboxId, archive: MailboxId) -> None:
        self.mail, self.account, self.inbox, self.archive = mail, account, inbox, archive
        self.messages: list[Appended] = []

    def id(self, uid: int) -> MessageId:
        return self.messages[uid - 1].message

    async def flags(self, mailbox: MailboxId | None = None) -> list[tuple[int, set[str]]]:
        entries = await self.mail.entries(self.account, mailbox or self.inbox)
        return [(int(entry.flags.system), set(entry.flags.keywords)) for entry in entries]


@pytest.fixture
async def box(mail: MailStore, account: MakeAccount, new_message: MakeMessage) -> Box:
    ann = (await account()).id
    roles = {mailbox.role: mailbox.id for mailbox in await mail.mailboxes(ann)}
    made = Box(mail, ann, roles[Role.INBOX], roles[Role.ARCHIVE])
    made.messages = await mail.append([new_message(ann, text=str(number)) for number in range(5)])
    return made


async def test_flags_are_sets(box: Box, heard: list[Changed], check_sums: Check) -> None:
    mail, ann, inbox = box.mail, box.account, box.inbox
    state = await mail.state(ann)
    added = await mail.set_flags(ann, inbox, [4, 1, 2, 99], op="add", system=SEEN | DELETED, keywords=XY)
    assert [(e.uid, e.flags) for e in added.changed] == [(uid, Flags(SEEN | DELETED, XY)) for uid in (1, 2, 4)]
    assert [e.modseq for e in added.changed] == [state + 1, state + 2, state + 3]
    assert added.modseq == state + 3 == await mail.state(ann)
    assert heard[-1] == Changed(ann, added.modseq, frozenset({ChangeKind.EMAIL, ChangeKind.MAILBOX}))
    shown = await mail.mailbox(ann, inbox)
    assert (shown.unseen, shown.deleted, shown.total) == (2, 3, 5)
    removed = await mail.set_flags(ann, inbox, [1, 3], op="remove", system=SEEN | FLAGGED, keywords=frozenset("y"))
    assert [(e.uid, e.flags) for e in removed.changed] == [(1, Flags(DELETED, X))]
    replaced = await mail.set_flags(ann, inbox, [1, 2, 3], op="replace", system=DELETED, keywords=X)
    assert [e.uid for e in replaced.changed] == [2, 3]  # the first had exactly these
    assert await box.flags() == [(8, {"x"}), (8, {"x"}), (8, {"x"}), (9, {"x", "y"}), (0, set())]
    assert [e.uid for e in await mail.entries(ann, inbox, added.modseq)] == [1, 2, 3]
    await check_sums()


async def test_a_change_that_changes_nothing_takes_no_modseq(box: Box, heard: list[Changed]) -> None:
    state = await box.mail.state(box.account)
    for op in ("add", "remove"):
        result = await box.mail.set_flags(box.account, box.inbox, [1, 2], op=op)
        assert (result.changed, result.modseq) == ([], state)
    assert heard == []


async def test_flags_that_do_not_count_do_not_change_the_mailbox_for_jmap(box: Box) -> None:
    state = await box.mail.state(box.account)
    result = await box.mail.set_flags(box.account, box.inbox, [1], op="add", system=FLAGGED)
    assert (await box.mail.changes(box.account, ChangeKind.MAILBOX, state)).updated == []
    assert (await box.mail.mailbox(box.account, box.inbox)).modseq == result.modseq
    seen = await box.mail.set_flags(box.account, box.inbox, [1], op="add", system=SEEN)
    changes = await box.mail.changes(box.account, ChangeKind.MAILBOX, result.modseq)
    assert (changes.updated, changes.counts_only, changes.new_state) == ([box.inbox], True, seen.modseq)


async def test_keywords_of_a_message_are_bounded(box: Box) -> None:
    mail, ann, inbox = box.mail, box.account, box.inbox
    await mail.set_flags(ann, inbox, [1], op="add", keywords=frozenset(str(n) for n in range(MAX_KEYWORDS)))
    with pytest.raises(InvalidKeyword):
        await mail.set_flags(ann, inbox, [1, 2], op="add", keywords=X)
    outcome = await mail.update_messages(ann, [MessageUpdate(box.id(1), add_flags=Flags(keywords=X))])
    assert isinstance(outcome[box.id(1)], InvalidKeyword)
    assert [len(words) for _, words in await box.flags()] == [MAX_KEYWORDS, 0, 0, 0, 0]


async def test_unchanged_since_leaves_alone_what_changed(box: Box) -> None:
    first = await box.mail.set_flags(box.account, box.inbox, [2], op="add", system=FLAGGED)
    since = Modseq(first.modseq - 1)
    result = await box.mail.set_flags(box.account, box.inbox, [1, 2, 3], op="add", system=SEEN, unchanged_since=since)
    assert ([e.uid for e in result.changed], result.modified) == ([1, 3], [2])
    nothing = await box.mail.set_flags(
        box.account, box.inbox, [1, 2], op="add", system=DRAFT, unchanged_since=Modseq(0)
    )
    assert (nothing.changed, nothing.modified) == ([], [1, 2])


async def test_views_tell_what_changed_and_what_vanished(box: Box, new_message: MakeMessage) -> None:
    mail, ann, inbox = box.mail, box.account, box.inbox
    whole = await mail.view(ann, inbox)
    assert [entry.uid for entry in whole.entries] == [1, 2, 3, 4, 5]
    assert (whole.modseq, whole.expunged, whole.mailbox.total) == (await mail.state(ann), [], 5)
    await mail.set_flags(ann, inbox, [2], op="add", system=SEEN)
    assert await mail.expunge(ann, inbox, [4, 77], only_deleted=False) == [4]
    await mail.append([new_message(ann, text="new"), new_message(ann, box.archive, text="elsewhere")])
    part = await mail.view(ann, inbox, whole.modseq)
    assert ([entry.uid for entry in part.entries], part.expunged) == ([2, 6], [4])
    assert await mail.expunged(ann, inbox, whole.modseq) == [4]
    same = await mail.view(ann, inbox, part.modseq)
    assert (same.entries, same.expunged, same.mailbox) == ([], [], part.mailbox)


async def test_expunging(box: Box, check_sums: Check, storage: Storage) -> None:
    mail, ann, inbox = box.mail, box.account, box.inbox
    await mail.set_flags(ann, inbox, [1, 3, 5], op="add", system=DELETED)
    await mail.copy(ann, inbox, [3], box.archive)
    state = await mail.state(ann)
    assert await mail.expunge(ann, inbox, [1, 2], only_deleted=True) == [1]
    assert await mail.expunge(ann, inbox, only_deleted=True) == [3, 5]
    assert await mail.expunge(ann, inbox, only_deleted=True) == []
    changes = await mail.changes(ann, ChangeKind.EMAIL, state)
    assert (changes.updated, changes.destroyed) == ([box.id(3)], [box.id(1), box.id(5)])
    assert await mail.messages(ann, [box.id(1), box.id(3)], MessageFields.NONE) != []
    assert (await mail.quota(ann))[:2] == (3000, 3)
    await check_sums()
    assert await mail.expunge(ann, inbox, only_deleted=False) == [2, 4]
    assert await mail.expunge(ann, box.archive, only_deleted=False) == [1]
    touched = await storage._database.fetchval("SELECT count(*) FROM blob WHERE touched_at IS NOT NULL")
    assert touched == 5  # all on the collector's list
    assert (await mail.mailbox(ann, inbox)).uidnext == 6
    await check_sums()


async def test_copies_share_the_message(box: Box, check_sums: Check) -> None:
    mail, ann = box.mail, box.account
    await mail.set_flags(ann, box.inbox, [2, 5], op="add", system=SEEN | FLAGGED, keywords=XY)
    copied = await mail.copy(ann, box.inbox, [5, 2, 44], box.archive)
    archive = await mail.mailbox(ann, box.archive)
    assert (copied.uidvalidity, copied.pairs) == (archive.uidvalidity, [(2, 1), (5, 2)])
    assert await box.flags(box.archive) == [(5, {"x", "y"}), (5, {"x", "y"})]
    assert [entry.message for entry in await mail.entries(ann, box.archive)] == [box.id(2), box.id(5)]
    assert (archive.total, archive.unseen, archive.size) == (2, 0, 2000)
    assert (await mail.quota(ann))[:2] == (5000, 5)
    await check_sums()


async def test_a_second_copy_is_a_message_of_its_own(box: Box, check_sums: Check) -> None:
    mail, ann = box.mail, box.account
    state = await mail.state(ann)
    first = await mail.copy(ann, box.inbox, [1, 2], box.archive)
    second = await mail.copy(ann, box.inbox, [2, 1, 3], box.archive)
    again = await mail.copy(ann, box.inbox, [1], box.inbox)
    assert (first.pairs, second.pairs, again.pairs) == ([(1, 1), (2, 2)], [(1, 3), (2, 4), (3, 5)], [(1, 6)])
    entries = await mail.entries(ann, box.archive)
    assert len({entry.message for entry in entries}) == 5
    originals = await mail.messages(ann, [box.id(1)], MessageFields.NONE)
    clones = await mail.messages(ann, [entries[2].message], MessageFields.NONE)
    assert (originals[0].blob, originals[0].thread) == (clones[0].blob, clones[0].thread)
    changes = await mail.changes(ann, ChangeKind.EMAIL, state)
    assert (len(changes.created), len(changes.updated)) == (3, 3)
    assert (await mail.quota(ann))[:2] == (8000, 8)
    await check_sums()


async def test_copies_that_need_room_obey_the_quota(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    bob = (await account("bob@example.org", quota=2500)).id
    inbox, archive = [m.id for m in await mail.mailboxes(bob) if m.role in (Role.INBOX, Role.ARCHIVE)]
    await mail.append([new_message(bob, text="1"), new_message(bob, text="2")])
    await mail.copy(bob, inbox, [1, 2], archive)
    for attempt in (mail.copy(bob, inbox, [1, 2], archive), mail.move(bob, inbox, [1, 2], archive)):
        with pytest.raises(OverQuota):
            await attempt
    assert len(await mail.entries(bob, inbox)) == 2
    await check_sums()


async def test_moving_keeps_the_message(box: Box, check_sums: Check) -> None:
    mail, ann = box.mail, box.account
    await mail.set_flags(ann, box.inbox, [4], op="add", system=DELETED, keywords=X)
    state = await mail.state(ann)
    moved = await mail.move(ann, box.inbox, [4, 2], box.archive)
    assert moved.pairs == [(2, 1), (4, 2)]
    assert await box.flags(box.archive) == [(0, set()), (8, {"x"})]
    assert (await mail.view(ann, box.inbox, state)).expunged == [2, 4]
    changes = await mail.changes(ann, ChangeKind.EMAIL, state)
    assert (changes.created, changes.updated, changes.destroyed) == ([], [box.id(2), box.id(4)], [])
    await check_sums()
    assert (await mail.move(ann, box.inbox, [1, 5], box.inbox)).pairs == [(1, 6), (5, 7)]
    await mail.copy(ann, box.inbox, [3], box.archive)
    assert (await mail.move(ann, box.inbox, [3], box.archive)).pairs == [(3, 4)]  # was there already
    assert len(await mail.entries(ann, box.archive)) == 4
    await check_sums()


async def test_destroying_messages_takes_them_out_of_every_mailbox(box: Box, check_sums: Check) -> None:
    mail, ann = box.mail, box.account
    await mail.copy(ann, box.inbox, [1, 2], box.archive)
    state = await mail.state(ann)
    wanted = [box.id(2), MessageId(10**15), box.id(3), box.id(2)]
    assert await mail.destroy_messages(ann, wanted) == ([box.id(2), box.id(3)], [MessageId(10**15)])
    assert (await mail.changes(ann, ChangeKind.EMAIL, state)).destroyed == [box.id(2), box.id(3)]
    assert (await mail.view(ann, box.inbox, state)).expunged == [2, 3]
    assert (await mail.view(ann, box.archive, state)).expunged == [2]
    await check_sums()


async def shown(box: Box, uid: int) -> dict[MailboxId, Flags]:
    (message,) = await box.mail.messages(box.account, [box.id(uid)], MessageFields.MAILBOXES)
    return {mailbox: flags for mailbox, (_, flags) in (message.mailboxes or {}).items()}


async def test_updates_change_keywords_everywhere_and_mailboxes(box: Box, check_sums: Check) -> None:
    mail, ann, inbox, archive = box.mail, box.account, box.inbox, box.archive
    await mail.copy(ann, inbox, [1], archive)
    await mail.set_flags(ann, inbox, [1], op="add", system=SEEN | DELETED, keywords=X)
    state = await mail.state(ann)
    outcome = await mail.update_messages(
        ann,
        [
            MessageUpdate(box.id(1), add_flags=Flags(FLAGGED, frozenset({"y"}))),
            MessageUpdate(box.id(2), flags=Flags(SEEN, X), add_mailboxes=frozenset({archive})),
            MessageUpdate(box.id(3), mailboxes=frozenset({archive})),
            MessageUpdate(box.id(4), remove_mailboxes=frozenset({inbox})),
            MessageUpdate(box.id(5), add_mailboxes=frozenset({MailboxId(10**15)})),
            MessageUpdate(MessageId(10**15), flags=NO_FLAGS),
        ],
    )
    assert [type(error) for error in outcome.values()] == [
        type(None), type(None), type(None), NotPermitted, MailboxNotFound, MessageNotFound,
    ]  # fmt: skip
    # Seen in one mailbox only counts as unseen; \\Deleted is IMAP's and stays.
    assert await shown(box, 1) == {inbox: Flags(FLAGGED | DELETED, XY), archive: Flags(FLAGGED, XY)}
    assert await shown(box, 2) == {inbox: Flags(SEEN, X), archive: Flags(SEEN, X)}
    assert await shown(box, 3) == {archive: NO_FLAGS}
    assert await shown(box, 4) == {inbox: NO_FLAGS}
    changes = await mail.changes(ann, ChangeKind.EMAIL, state)
    assert changes.updated == [box.id(1), box.id(2), box.id(3)]
    assert (await mail.view(ann, inbox, state)).expunged == [3]
    await check_sums()


async def test_updates_that_change_nothing_take_no_modseq(box: Box) -> None:
    state = await box.mail.state(box.account)
    update = MessageUpdate(box.id(1), flags=NO_FLAGS, mailboxes=frozenset({box.inbox}))
    assert await box.mail.update_messages(box.account, [update]) == {box.id(1): None}
    assert await box.mail.state(box.account) == state


async def test_replacing_by_the_shown_flags_leaves_mailboxes_apart(box: Box) -> None:
    await box.mail.copy(box.account, box.inbox, [1], box.archive)
    await box.mail.set_flags(box.account, box.inbox, [1], op="add", system=SEEN)
    await box.mail.update_messages(box.account, [MessageUpdate(box.id(1), remove_flags=Flags(FLAGGED))])
    assert await shown(box, 1) == {box.inbox: Flags(SEEN), box.archive: NO_FLAGS}
    await box.mail.update_messages(box.account, [MessageUpdate(box.id(1), add_flags=Flags(SEEN))])
    assert await shown(box, 1) == {box.inbox: Flags(SEEN), box.archive: Flags(SEEN)}


async def test_messages_come_with_the_fields_asked_for(box: Box, new_message: MakeMessage) -> None:
    mail, ann = box.mail, box.account
    new = new_message(ann, subject="Re: Hi", message_id="m@x", text="words", has_attachment=True)
    (appended,) = await mail.append([new])
    (bare,) = await mail.messages(ann, [appended.message], MessageFields.NONE)
    assert (bare.size, bare.blob, bare.thread, bare.created_modseq) == (
        1000, new.blob.key, appended.thread, appended.modseq,
    )  # fmt: skip
    assert (bare.received_at, bare.subject, bare.envelope, bare.mailboxes) == (new.received_at, None, None, None)
    everything = MessageFields(255)
    (whole,) = await mail.messages(ann, [appended.message], everything)
    for name in ("subject", "base_subject", "message_id", "sent_at", "preview", "has_attachment", "envelope", "headers",
                 "body_structure", "body", "structure", "listing"):  # fmt: skip
        assert getattr(whole, name) == getattr(new.summary, name), name
    asked = [box.id(5), MessageId(10**15), box.id(1)]
    assert [message.id for message in await mail.messages(ann, asked, MessageFields.NONE)] == [box.id(5), box.id(1)]
    placed = await mail.messages_by_uid(ann, box.inbox, [6, 2, 99], everything)
    assert [one.uid for one in placed] == [2, 6]
    assert (placed[1].message, placed[1].flags, placed[1].modseq) == (whole, NO_FLAGS, appended.modseq)


async def test_changes_are_cut_between_modseqs(box: Box) -> None:
    mail, ann = box.mail, box.account
    start = await mail.state(ann)
    await mail.set_flags(ann, box.inbox, [1, 2, 3, 4, 5], op="add", system=SEEN)
    await mail.destroy_messages(ann, [box.id(1)])
    found: list[tuple[str, int]] = []
    state, more = start, True
    while more:
        page = await mail.changes(ann, ChangeKind.EMAIL, state, 2)
        assert len(page.created) + len(page.updated) + len(page.destroyed) <= 2
        found += [("updated", one) for one in page.updated] + [("destroyed", one) for one in page.destroyed]
        assert page.new_state > state
        state, more = page.new_state, page.has_more
    assert state == await mail.state(ann)
    assert found == [("updated", box.id(uid)) for uid in (1, 2, 3, 4, 5)] + [("destroyed", box.id(1))]
    whole = await mail.changes(ann, ChangeKind.EMAIL, start)
    assert (whole.updated, whole.destroyed, whole.has_more) == ([box.id(n) for n in (2, 3, 4, 5)], [box.id(1)], False)


async def test_what_came_and_went_in_between_is_not_told(box: Box, new_message: MakeMessage) -> None:
    state = await box.mail.state(box.account)
    (appended,) = await box.mail.append([new_message(box.account, text="short life")])
    await box.mail.destroy_messages(box.account, [appended.message])
    changes = await box.mail.changes(box.account, ChangeKind.EMAIL, state)
    assert (changes.created, changes.updated, changes.destroyed) == ([], [], [])


async def test_states_out_of_reach(box: Box, storage: Storage, new_message: MakeMessage) -> None:
    mail, ann, inbox = box.mail, box.account, box.inbox
    old = await mail.state(ann)
    await mail.expunge(ann, inbox, [1], only_deleted=False)
    quiet = await mail.state(ann)
    await storage._database.execute("UPDATE account_counter SET horizon = modseq WHERE account_id = $1", ann)
    await mail.append([new_message(ann, box.archive, text="later")])
    await storage._database.execute("UPDATE account_counter SET horizon = modseq WHERE account_id = $1", ann)
    for attempt in (
        mail.changes(ann, ChangeKind.EMAIL, old),
        mail.view(ann, inbox, old),
        mail.expunged(ann, inbox, old),
        mail.changes(ann, ChangeKind.EMAIL, Modseq(10**12)),
        mail.view(ann, inbox, Modseq(10**12)),
    ):
        with pytest.raises(CannotCalculateChanges):
            await attempt
    assert (await mail.view(ann, inbox, quiet)).expunged == []  # nothing happened there since
