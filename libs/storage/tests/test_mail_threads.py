"""Threads on the real PostgreSQL: joining by references, out of order, in batches, and merging."""

from collections.abc import Awaitable, Callable

import pytest

from posthorn_model.events import ChangeKind
from posthorn_model.ids import AccountId, ThreadId
from posthorn_model.mail import Appended, NewMessage, Role
from posthorn_storage import AccountRecord
from posthorn_storage.mail import MessageFields
from posthorn_storage.mail.threads import MAX_REFERENCES, keys
from posthorn_storage.mail_store import MailStore

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
MakeMessage = Callable[..., NewMessage]
Check = Callable[[], Awaitable[None]]


@pytest.fixture
async def ann(account: MakeAccount) -> AccountId:
    return (await account()).id


@pytest.fixture
def add(mail: MailStore, ann: AccountId, new_message: MakeMessage) -> Callable[..., Awaitable[Appended]]:
    async def append(message_id: str, *references: str, **more: object) -> Appended:
        return (await mail.append([new_message(ann, message_id=message_id, references=references, **more)]))[0]

    return append


Add = Callable[..., Awaitable[Appended]]


async def test_answers_join_their_thread(mail: MailStore, ann: AccountId, add: Add, check_sums: Check) -> None:
    first = await add("1@x")
    answer = await add("2@x", "1@x", subject="Re: Hello")
    other = await add("3@x", "1@x", subject="Something else")
    stranger = await add("4@x")
    assert answer.thread == first.thread == first.message
    assert len({first.thread, other.thread, stranger.thread}) == 3
    threads = await mail.threads(ann, [first.thread, stranger.thread, ThreadId(10**15)])
    assert threads == {first.thread: [first.message, answer.message], stranger.thread: [stranger.message]}
    changes = await mail.changes(ann, ChangeKind.THREAD, first.modseq)
    assert (changes.created, changes.updated) == ([other.thread, stranger.thread], [first.thread])
    await check_sums()


async def test_an_answer_may_arrive_before_what_it_answers(add: Add) -> None:
    answer = await add("3@x", "1@x", "2@x")
    assert (await add("1@x")).thread == answer.thread
    assert (await add("2@x", "1@x")).thread == answer.thread
    assert (await add("9@x", "2@x")).thread == answer.thread


async def test_messages_of_one_batch_find_each_other(
    mail: MailStore, ann: AccountId, new_message: MakeMessage, check_sums: Check
) -> None:
    stored = await mail.append(
        [
            new_message(ann, message_id="1@x"),
            new_message(ann, message_id="2@x"),
            new_message(ann, message_id="3@x", references=("1@x", "2@x")),
            new_message(ann, message_id="4@x", references=("2@x",)),
            new_message(ann),
            new_message(ann),
        ]
    )
    assert len({one.thread for one in stored[:4]}) == 1
    assert len({one.thread for one in stored[3:]}) == 3
    changes = await mail.changes(ann, ChangeKind.THREAD, stored[0].modseq)
    assert stored[0].thread not in changes.destroyed
    await check_sums()


async def test_a_message_that_ties_two_threads_merges_them(
    mail: MailStore, ann: AccountId, add: Add, check_sums: Check, new_message: MakeMessage
) -> None:
    inbox = next(mailbox.id for mailbox in await mail.mailboxes(ann) if mailbox.role is Role.INBOX)
    left, right = await add("1@x"), await add("2@x", keywords=frozenset({"x"}))
    right_answer = await add("3@x", "2@x", text="answer")
    before = await mail.view(ann, inbox)
    tie = await add("4@x", "1@x", "2@x")
    assert tie.thread == left.thread
    members = (await mail.threads(ann, [left.thread, right.thread]))[left.thread]
    assert len(members) == 4
    assert {left.message, tie.message} < set(members)
    # RFC 8621 3: a threadId never changes, so what moved is destroyed and created under a new id.
    changes = await mail.changes(ann, ChangeKind.EMAIL, before.modseq)
    assert set(changes.destroyed) == {right.message, right_answer.message}
    assert set(changes.created) == set(members) - {left.message}
    threads = await mail.changes(ann, ChangeKind.THREAD, before.modseq)
    assert (threads.created, threads.updated, threads.destroyed) == ([], [left.thread], [right.thread])
    # IMAP sees the same UIDs with the same flags, and entries that point to the new ids.
    after = await mail.view(ann, inbox, before.modseq)
    assert after.expunged == []
    assert [(entry.uid, entry.flags) for entry in after.entries][:2] == [
        (entry.uid, entry.flags) for entry in before.entries[1:]
    ]
    assert {entry.message for entry in after.entries} <= set(members)
    moved = await mail.messages(ann, [after.entries[0].message], MessageFields.SUMMARY)
    assert (moved[0].thread, moved[0].message_id) == (left.thread, "2@x")
    assert (await add("5@x", "3@x")).thread == left.thread
    await check_sums()


async def test_a_thread_ends_with_its_last_message(
    mail: MailStore, ann: AccountId, add: Add, check_sums: Check
) -> None:
    first, answer = await add("1@x"), await add("2@x", "1@x")
    await mail.destroy_messages(ann, [first.message])
    assert (await add("3@x", "1@x")).thread == first.thread
    state = await mail.state(ann)
    members = (await mail.threads(ann, [first.thread]))[first.thread]
    assert answer.message in members
    await mail.destroy_messages(ann, members)
    assert (await mail.changes(ann, ChangeKind.THREAD, state)).destroyed == [first.thread]
    again = await add("4@x", "1@x")
    assert again.thread == again.message
    await check_sums()


def test_keys_are_bounded_and_depend_on_the_subject(new_message: MakeMessage) -> None:
    many = tuple(f"{number}@x" for number in range(10_000))
    found = keys(AccountId(1), new_message(1, references=many, message_id="me@x").summary)
    assert len(found) == MAX_REFERENCES + 2  # the first reference, and the message itself
    assert keys(AccountId(1), new_message(1).summary) == []
    one = keys(AccountId(1), new_message(1, message_id="a@x", subject="A").summary)
    assert one == keys(AccountId(1), new_message(1, message_id="a@x", subject="Re: a").summary)
    assert one != keys(AccountId(1), new_message(1, message_id="a@x", subject="B").summary)
