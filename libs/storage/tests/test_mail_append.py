"""Appending and delivering on the real PostgreSQL: durable, exactly once, in order, within quota."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from posthorn_model.errors import AccountNotFound, InvalidContent, MailboxNotFound, OverQuota
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.mail import Mailbox, NewMessage, Role
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import AccountRecord, Storage, StorageSettings
from posthorn_storage.mail import MessageFields
from posthorn_storage.mail_store import MailStore

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
MakeMessage = Callable[..., NewMessage]
Check = Callable[[], Awaitable[None]]


async def box(mail: MailStore, account: AccountId, role: Role = Role.INBOX) -> Mailbox:
    return next(mailbox for mailbox in await mail.mailboxes(account) if mailbox.role is role)


async def test_appended_messages_have_rising_uids_and_modseqs(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check, heard: list[Changed]
) -> None:
    ann = (await account()).id
    inbox = await box(mail, ann)
    first, second = await mail.append(
        [new_message(ann, inbox.id, text="one"), new_message(ann, inbox.id, text="two", flags=SystemFlag.SEEN)]
    )
    assert [uid for *_, uid in (*first.uids, *second.uids)] == [1, 2]
    assert first.uids[0][:2] == (inbox.id, inbox.uidvalidity)
    assert inbox.modseq < first.modseq < second.modseq == await mail.state(ann)
    assert (first.duplicate, first.thread, second.thread) == (False, first.message, second.message)
    after = await mail.mailbox(ann, inbox.id)
    assert (after.total, after.unseen, after.size, after.uidnext) == (2, 1, 2000, 3)
    assert heard == [Changed(ann, second.modseq, frozenset({ChangeKind.EMAIL, ChangeKind.MAILBOX, ChangeKind.THREAD}))]
    await check_sums()


async def test_a_message_without_mailbox_goes_to_the_inbox_of_each_account(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    ann, bob = (await account("ann@example.org")).id, (await account("bob@example.org")).id
    for appended in await mail.append([new_message(bob), new_message(ann), new_message(bob)]):
        assert appended.uids[0][0] == (await box(mail, appended.account)).id
    assert [(await box(mail, one)).total for one in (ann, bob)] == [1, 2]
    await check_sums()


async def test_one_message_in_two_mailboxes_is_stored_once(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    ann = (await account()).id
    inbox, archive = await box(mail, ann), await box(mail, ann, Role.ARCHIVE)
    flags = Flags(SystemFlag.FLAGGED, frozenset({"$forwarded", "a"}))
    (appended,) = await mail.append(
        [new_message(ann, inbox.id, archive.id, inbox.id, flags=flags.system, keywords=flags.keywords)]
    )
    assert {mailbox for mailbox, *_ in appended.uids} == {inbox.id, archive.id}
    (message,) = await mail.messages(ann, [appended.message], MessageFields.MAILBOXES)
    assert message.mailboxes == {inbox.id: (1, flags), archive.id: (1, flags)}
    assert await mail.quota(ann) == (1000, 1, None)
    await check_sums()


async def test_nothing_is_stored_when_one_message_cannot_be(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check, heard: list[Changed]
) -> None:
    ann, bob = (await account("ann@example.org")).id, (await account("bob@example.org", quota=1500)).id
    before = await mail.state(ann), await mail.state(bob)
    heard.clear()
    with pytest.raises(OverQuota):
        await mail.append([new_message(ann), new_message(bob), new_message(bob)])
    with pytest.raises(MailboxNotFound):
        await mail.append([new_message(ann), new_message(ann, 10**15)])
    with pytest.raises(MailboxNotFound):  # another account's mailbox
        await mail.append([new_message(ann, (await box(mail, bob)).id)])
    with pytest.raises(AccountNotFound):
        await mail.append([new_message(ann), new_message(10**15)])
    assert (await mail.state(ann), await mail.state(bob)) == before
    assert heard == []
    await check_sums()


async def test_a_delivery_id_is_stored_once_for_each_account(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    ann, bob = (await account("ann@example.org")).id, (await account("bob@example.org")).id
    delivery = uuid4()
    pair = [new_message(one, delivery_id=delivery) for one in (ann, bob)]
    calls = await asyncio.gather(*(mail.deliver(pair) for _ in range(8)), mail.append(pair))
    fresh = [appended for call in calls for appended in call if not appended.duplicate]
    assert sorted(appended.account for appended in fresh) == sorted((ann, bob))
    assert {(a.account, a.message, a.uids) for call in calls for a in call} == {
        (a.account, a.message, a.uids) for a in fresh
    }
    assert [(await box(mail, one)).total for one in (ann, bob)] == [1, 1]
    await check_sums()


async def test_equal_content_is_suppressed_until_its_reply_arrived(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    ann = (await account()).id
    deliveries = [uuid4() for _ in range(4)]
    digest = b"x" * 32

    async def deliver(number: int) -> tuple[int, bool]:
        (appended,) = await mail.deliver(new_message(ann, delivery_id=deliveries[number], dedupe=digest))
        return appended.message, appended.duplicate

    first, repeated = await deliver(0)
    assert not repeated
    assert await deliver(1) == (first, True)  # the reply to the first was lost
    mail.acknowledged([deliveries[1], uuid4()])
    second, repeated = await deliver(2)  # the same thing sent on purpose
    assert (repeated, second != first) == (False, True)
    assert await deliver(3) == (second, True)
    assert (await box(mail, ann)).total == 2
    await check_sums()


async def test_acknowledged_digests_leave_the_database(
    storage: Storage, mail: MailStore, account: MakeAccount, new_message: MakeMessage
) -> None:
    ann = (await account()).id
    delivery = uuid4()
    await mail.deliver(new_message(ann, delivery_id=delivery, dedupe=b"x" * 32))
    assert await storage._database.fetchval("SELECT count(*) FROM delivery_seen") == 2
    mail.acknowledged([delivery])
    await mail.close()
    rows = await storage._database.fetch("SELECT key FROM delivery_seen")
    assert [row["key"] for row in rows] == [b"i" + delivery.bytes]


async def test_a_repeat_of_a_destroyed_message_stays_destroyed(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    ann = (await account()).id
    message = new_message(ann, delivery_id=uuid4())
    (appended,) = await mail.deliver(message)
    await mail.destroy_messages(ann, [appended.message])
    (again,) = await mail.deliver(message)
    assert (again.duplicate, again.message, again.uids) == (True, appended.message, ())
    assert (await box(mail, ann)).total == 0
    await check_sums()


async def test_an_item_that_cannot_be_stored_fails_alone(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    ann, bob = (await account("ann@example.org")).id, (await account("bob@example.org", quota=2500)).id
    items = [
        [new_message(ann, text="kept")],
        [new_message(bob, text="1"), new_message(ann, text="1")],
        [new_message(ann, text="lost"), new_message(bob, size=2000)],
        [new_message(10**15)],
        [new_message(ann, 10**15)],
        [new_message(bob, text="2")],
        [new_message(bob, text="3")],
    ]
    outcomes = await asyncio.gather(*(mail.deliver(item) for item in items), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        list, list, OverQuota, AccountNotFound, MailboxNotFound, list, OverQuota,
    ]  # fmt: skip
    assert [(await box(mail, one)).total for one in (ann, bob)] == [2, 2]
    assert (await mail.quota(bob))[:2] == (2000, 2)
    await check_sums()


async def test_a_poisoned_item_fails_alone(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    ann = (await account()).id
    good = [mail.deliver(new_message(ann, text=f"good {number}")) for number in range(3)]
    bad = mail.deliver(new_message(ann, size=2**70))  # no bigint: the driver refuses the whole batch
    outcomes = await asyncio.gather(*good, bad, return_exceptions=True)
    assert [isinstance(outcome, list) for outcome in outcomes] == [True, True, True, False]
    assert (await box(mail, ann)).total == 3
    await check_sums()


async def test_text_that_postgresql_refuses_is_cleaned(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage
) -> None:
    ann = (await account()).id
    (appended,) = await mail.append(
        [new_message(ann, subject="nul \0 and \ud800", message_id="a\0b", text="x\0\udfff", from_="\0 <a@b>")]
    )
    (message,) = await mail.messages(ann, [appended.message], MessageFields.SUMMARY)
    assert (message.subject, message.message_id) == ("nul  and ?", "ab")


async def test_many_concurrent_deliveries_share_few_transactions(
    storage: Storage, mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check,
    heard: list[Changed],
) -> None:  # fmt: skip
    people = [(await account(f"user{number}@example.org")).id for number in range(5)]
    heard.clear()
    calls = [mail.deliver(new_message(people[n % 5], text=str(n), delivered=True)) for n in range(100)]
    results = await asyncio.gather(*calls)
    assert len(heard) <= 10  # 5 accounts in one or two batches
    assert all(ChangeKind.EMAIL_DELIVERY in event.kinds for event in heard)
    for number, person in enumerate(people):
        mine = [result[0] for result in results[number::5]]
        assert [one.uids[0][2] for one in mine] == list(range(1, 21))
        assert [one.modseq for one in mine] == sorted({one.modseq for one in mine})
        assert len(await mail.entries(person, MailboxId(mine[0].uids[0][0]))) == 20
    await check_sums()


def outgoing(message: NewMessage, *addresses: str, delivery_id: UUID | None = None) -> NewQueueMessage:
    recipients = [NewRecipient(address, address.rpartition("@")[2]) for address in addresses]
    return NewQueueMessage("ann@example.org", message.blob, recipients, delivery_id=delivery_id)


async def test_remote_recipients_are_queued_with_the_delivery_or_not_at_all(
    storage: Storage, mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    ann, bob = (await account("ann@example.org")).id, (await account("bob@example.org", quota=1)).id

    async def queued() -> list[str]:
        rows = await storage._database.fetch("SELECT address FROM queue_recipient ORDER BY address")
        return [row["address"] for row in rows]

    good, full, poor = new_message(ann, text="1"), new_message(bob, text="2"), new_message(ann, text="3")
    outcomes = await asyncio.gather(
        mail.deliver(good, [outgoing(good, "x@example.com", "y@example.com")]),
        mail.deliver([good, full], [outgoing(full, "lost@example.com")]),
        mail.deliver(poor, [outgoing(poor)]),  # the queue refuses a message to nobody
        mail.deliver([], [outgoing(full, "z@example.com")]),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [list, OverQuota, InvalidContent, list]
    assert await queued() == ["x@example.com", "y@example.com", "z@example.com"]
    assert (await box(mail, ann)).total == 1
    await check_sums()


async def test_a_repeated_delivery_is_queued_once(
    storage: Storage, mail: MailStore, account: MakeAccount, new_message: MakeMessage
) -> None:
    ann = (await account()).id
    delivery = uuid4()
    message = new_message(ann, delivery_id=delivery)
    again = [mail.deliver(message, [outgoing(message, "x@example.com", delivery_id=delivery)]) for _ in range(4)]
    results = await asyncio.gather(*again)
    assert sum(not result[0].duplicate for result in results) == 1
    assert await storage._database.fetchval("SELECT count(*) FROM queue_recipient") == 1


async def test_two_stores_race_for_one_delivery(
    storage: Storage,
    mail: MailStore,
    account: MakeAccount,
    new_message: MakeMessage,
    check_sums: Check,
    postgres_dsn: str,
) -> None:
    """As two nodes would: each has its own combiner and its own stock of ids."""
    ann = (await account()).id
    node = await Storage.open(StorageSettings(dsn=postgres_dsn, blobs=None))
    other = node.mail
    deliveries = [new_message(ann, text=str(number), delivery_id=uuid4()) for number in range(20)]
    results = await asyncio.gather(*(store.deliver(one) for one in deliveries for store in (mail, other)))
    assert sum(not result[0].duplicate for result in results) == 20
    entries = await mail.entries(ann, (await box(mail, ann)).id)
    assert [entry.uid for entry in entries] == list(range(1, 21))
    await node.close()
    await check_sums()


async def test_messages_appended_at_once_share_transactions_and_no_fate(
    storage: Storage, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    """They are of several accounts, and one of them cannot be stored."""
    mail = storage.mail
    people = [(await account(f"p{number}@example.org")).id for number in range(5)]
    new = [new_message(people[number % 5], text=str(number)) for number in range(40)]
    calls = (mail.append([each]) for each in (*new, new_message(people[0], 10**15)))
    *stored, refused = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(refused, MailboxNotFound)
    assert [each[0].account for each in stored if isinstance(each, list)] == [each.account for each in new]
    for person in people:
        found = await mail.entries(person, (await box(mail, person)).id)
        assert [entry.uid for entry in found] == list(range(1, 9))
    transactions = [
        await shard.database.fetchval("SELECT count(DISTINCT xmin::text) FROM message") for shard in storage.shards
    ]
    assert 0 < sum(transactions) < len(new)
    await check_sums()
