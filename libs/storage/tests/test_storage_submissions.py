"""Submissions and thread counts on the real PostgreSQL: one transaction for record, mailboxes and queue."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from posthorn_model.errors import AccountNotFound
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import AccountId, MessageId, ThreadId
from posthorn_model.mail import Role
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.mail import ThreadCounts
from posthorn_storage.submissions import NewSubmission, delivery_id

pytestmark = pytest.mark.postgres

Account = Callable[..., Awaitable[AccountRecord]]


def submission(account: AccountId, *recipients: str) -> NewSubmission:
    envelope = {"mailFrom": {"email": "ann@example.org"}, "rcptTo": [{"email": address} for address in recipients]}
    return NewSubmission(account, 1, MessageId(7), ThreadId(7), envelope)


async def outgoing(storage: Storage, *recipients: str) -> NewQueueMessage:
    blob = await storage.blobs.prepare(b"Subject: x\r\n\r\nx\r\n")
    return NewQueueMessage("ann@example.org", blob, [NewRecipient(to, to.rpartition("@")[2]) for to in recipients])


async def test_one_submission_reaches_mailboxes_and_queue(
    storage: Storage, account: Account, new_message: Any, heard: list[Changed], check_sums: Any
) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org")
    start = await storage.mail.state(ann.id)
    heard.clear()
    made, sites = await storage.submissions.submit(
        submission(ann.id, "bob@example.org", "b@example.org", "karl@example.net"),
        # Two addresses of one account are one delivery.
        {"bob@example.org": [new_message(bob.id)], "b@example.org": [new_message(bob.id)]},
        await outgoing(storage, "karl@example.net"),
    )
    assert sites == ("example.net",)
    assert made.delivered == {"bob@example.org", "b@example.org"}
    assert (await storage.mail.quota(bob.id))[1] == 1
    assert {event.account: event.kinds for event in heard}[ann.id] == {ChangeKind.EMAIL_SUBMISSION}
    (found,) = await storage.submissions.all(ann.id, [made.id])
    assert (found.envelope, found.delivered, found.send_at) == (made.envelope, made.delivered, made.send_at)
    assert found.fates["karl@example.net"].state is RecipientState.WAITING
    (queued,) = await storage.queue.messages()
    assert [recipient.address for recipient in queued.recipients] == ["karl@example.net"]
    changes = await storage.mail.changes(ann.id, ChangeKind.EMAIL_SUBMISSION, start)
    assert changes.created == [made.id]
    assert await storage.submissions.all(bob.id) == []
    await check_sums()


async def test_who_takes_nothing_now_is_queued(storage: Storage, account: Account, new_message: Any) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org", quota=10)
    cyd = await account("cyd@example.org")
    made, sites = await storage.submissions.submit(
        submission(ann.id, "bob@example.org", "list@example.org", "gone@example.org"),
        {
            "bob@example.org": [new_message(bob.id)],
            # All accounts behind an address, or none now: a later try must not leave anybody out.
            "list@example.org": [new_message(cyd.id), new_message(bob.id)],
            "gone@example.org": [new_message(999_999)],
        },
        await outgoing(storage),
    )
    assert (made.delivered, sites) == (frozenset(), ("local",))
    (queued,) = await storage.queue.messages()
    assert {(one.address, one.site) for one in queued.recipients} == {
        ("bob@example.org", "local"),
        ("list@example.org", "local"),
        ("gone@example.org", "local"),
    }
    assert [(await storage.mail.quota(one.id))[1] for one in (bob, cyd)] == [0, 0]


async def test_nothing_is_left_of_what_fails(
    storage: Storage, account: Account, new_message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org")
    with pytest.raises(AccountNotFound):
        await storage.submissions.submit(submission(AccountId(999_999)), {}, await outgoing(storage, "k@example.net"))
    impossible = NewRecipient("karl@example.net", "a site with \0 in it")
    broken = NewQueueMessage("ann@example.org", (await outgoing(storage)).blob, [impossible])
    with pytest.raises(asyncpg.PostgresError):
        await storage.submissions.submit(
            submission(ann.id, "bob@example.org"), {"bob@example.org": [new_message(bob.id)]}, broken
        )
    assert await storage.queue.messages() == []
    assert await storage.submissions.all(ann.id) == []
    assert (await storage.mail.quota(bob.id))[1] == 0


async def test_submissions_are_forgotten_one_by_one_and_with_their_account(storage: Storage, account: Account) -> None:
    ann = await account("ann@example.org")
    made = [
        (await storage.submissions.submit(submission(ann.id), {}, await outgoing(storage, f"k{n}@example.net")))[0].id
        for n in range(3)
    ]
    assert len({delivery_id(ann.id, number) for number in made}) == 3
    state = await storage.mail.state(ann.id)
    assert await storage.submissions.destroy(ann.id, [made[1], 999_999]) == [made[1]]
    assert await storage.submissions.destroy(ann.id, []) == []
    assert (await storage.mail.changes(ann.id, ChangeKind.EMAIL_SUBMISSION, state)).destroyed == [made[1]]
    assert [one.id for one in await storage.submissions.all(ann.id)] == [made[0], made[2]]
    assert len(await storage.queue.messages()) == 3
    await storage.directory.reset_account("ann@example.org")
    assert await storage.submissions.all(ann.id) == []


async def test_thread_counts(storage: Storage, account: Account, new_message: Any) -> None:
    ann = await account("ann@example.org")
    boxes = {box.role: box.id for box in await storage.mail.mailboxes(ann.id)}
    inbox, trash, archive = boxes[Role.INBOX], boxes[Role.TRASH], boxes[Role.ARCHIVE]
    assert await storage.mail.thread_counts(ann.id) == {}
    seen, draft = SystemFlag.SEEN, SystemFlag.DRAFT
    await storage.mail.append(
        [
            new_message(ann.id, inbox, message_id="a@x", flags=seen),
            new_message(ann.id, archive, inbox, subject="Re: Hello", references=("a@x",), message_id="b@x"),
            new_message(ann.id, trash, subject="Rubbish", message_id="c@x"),
            new_message(ann.id, archive, subject="Re: Rubbish", references=("c@x",), message_id="d@x", flags=seen),
            new_message(ann.id, archive, subject="Begun", message_id="e@x", flags=draft),
        ]
    )
    assert await storage.mail.thread_counts(ann.id) == {
        inbox: ThreadCounts(total=1, unread=1, unread_messages=1),
        trash: ThreadCounts(total=1, unread=1, unread_messages=1),
        archive: ThreadCounts(total=3, unread=1, unread_messages=1),
    }
