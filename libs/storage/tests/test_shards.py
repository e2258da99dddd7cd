"""Accounts on several databases: each unit of work finds its account's, and what spans several holds together."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from posthorn_model.errors import AccountNotFound, AlreadyExists, NotFound, OverQuota, Unavailable
from posthorn_model.events import ChangeKind
from posthorn_model.groupware import CollectionKind
from posthorn_model.ids import AccountId, Epoch
from posthorn_model.mail import NewMessage, Role
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Outcome, RecipientState
from posthorn_storage import Storage, StorageSettings
from posthorn_storage.check import Check
from posthorn_storage.codes import LOCAL_SITE
from posthorn_storage.migrate import migrate
from posthorn_storage.settings import ShardSettings
from posthorn_storage.shard_rules import PlacementRules, ShardRule
from posthorn_storage.shards.registry import ID_BITS, register
from posthorn_storage.submissions import NewSubmission

MakeMessage = Callable[..., NewMessage]


async def people(storage: Storage) -> tuple[AccountId, AccountId, AccountId]:
    """One account on each shard: east, west, home."""
    records = await storage.directory.add_accounts(
        [(f"{name}@example.org", "a password") for name in ("ann", "ned", "tom")]
    )
    ann, ned, tom = (record.id for record in records)
    return ann, ned, tom


async def check(storage: Storage) -> None:
    for shard in storage.shards:
        looked = Check(shard.database, shard.blobs.stores, home=shard.is_home)
        found = [finding async for step in looked.accounts() for finding in step.findings]
        found += (await looked.queue()).findings
        found += [finding async for step in looked.blobs(content=True) for finding in step.findings]
        assert found == []


@pytest.mark.parametrize(
    ("address", "shard"),
    [
        ("ann@example.org", "east"),
        ("mmm@example.org", "east"),
        ("n@example.org", "west"),
        ("zoe@example.org", "west"),
        ("zora@example.org", None),
        ("0@example.org", None),
    ],
)
def test_ranges_and_pins(address: str, shard: str | None, settings: StorageSettings) -> None:
    assert settings.placement.shard_for(address) == shard


def test_weights_share_out_and_growth_moves_only_to_the_new_shard() -> None:
    names = [f"user{number}@example.org" for number in range(4000)]
    two = PlacementRules((ShardRule("one", weight=1), ShardRule("two", weight=3)))
    three = PlacementRules((*two.rules, ShardRule("three", weight=4)))
    before, after = ([rules.shard_for(name) for name in names] for rules in (two, three))
    assert 0.2 < before.count("one") / len(names) < 0.3
    assert 0.45 < after.count("three") / len(names) < 0.55
    assert all(new in (old, "three") for old, new in zip(before, after, strict=True))
    pinned = PlacementRules((ShardRule("one", weight=1), ShardRule("two", pins=frozenset({"@example.org"}))))
    assert {pinned.shard_for(name) for name in names} == {"two"}


async def test_accounts_live_where_the_rules_say(sharded: Storage) -> None:
    ann, ned, tom = await people(sharded)
    assert [(await sharded.shards.of(each)).name for each in (ann, ned, tom)] == ["east", "west", "postgres"]
    counters = "SELECT account_id FROM account_counter"
    found = {shard.name: [row[0] for row in await shard.database.fetch(counters)] for shard in sharded.shards}
    assert found == {"postgres": [tom], "east": [ann], "west": [ned]}
    assert next(box.role for box in await sharded.mail.mailboxes(ann)) is Role.INBOX
    assert (await sharded.directory.identities(ned))[0].email == "ned@example.org"
    assert await sharded.groupware.collections(ann, CollectionKind.CALENDAR)
    assert (await sharded.mail.mailboxes(ann))[0].id >> ID_BITS == 1
    assert (await sharded.mail.mailboxes(ned))[0].id >> ID_BITS == 2


async def test_an_account_that_cannot_be_added_leaves_nothing_on_its_shard(sharded: Storage) -> None:
    await people(sharded)
    with pytest.raises(AlreadyExists):
        await sharded.directory.add_accounts([("bea@example.org", "a password"), ("ann@example.org", "a password")])
    with pytest.raises(NotFound):
        await sharded.directory.add_account("ann@example.net", None)
    for shard in sharded.shards:
        assert await shard.database.fetchval("SELECT count(*) FROM account_counter") == 1
        assert await shard.database.fetchval("SELECT count(*) FROM mailbox") == 6
        assert await shard.database.fetchval("SELECT count(*) FROM identity") == 1


@pytest.mark.parametrize("size", [100, 100_000])
async def test_one_delivery_for_accounts_of_all_shards(sharded: Storage, new_message: MakeMessage, size: int) -> None:
    accounts = await people(sharded)
    content = os.urandom(size)
    blob = await sharded.blobs.prepare(content, accounts=accounts, queued=True)
    delivery = uuid4()
    messages = [replace(new_message(each), blob=blob, delivery_id=delivery) for each in accounts]
    out = NewQueueMessage("ann@example.org", blob, [NewRecipient("x@example.net", "example.net")], delivery_id=delivery)
    stored = await sharded.mail.deliver(messages, enqueue=[out])
    assert [one.account for one in stored] == list(accounts)
    again = await sharded.mail.deliver(messages, enqueue=[out])
    assert [one.duplicate for one in again] == [True] * 3
    assert await sharded._database.fetchval("SELECT count(*) FROM queue_recipient") == 1
    for one in stored:
        (message,) = await sharded.mail.messages(one.account, [one.message], 0)  # type: ignore[arg-type]
        assert await sharded.blobs.read(one.account, message.blob) == content
    assert set(await sharded.mail.modseqs(accounts)) == set(accounts)
    await check(sharded)


async def test_queue_messages_of_a_delivery_to_other_shards_alone(sharded: Storage, new_message: MakeMessage) -> None:
    ann, _, _ = await people(sharded)
    blob = await sharded.blobs.prepare(os.urandom(50_000), accounts=[ann], queued=True)
    out = NewQueueMessage("ann@example.org", blob, [NewRecipient("x@example.net", "example.net")], delivery_id=uuid4())
    await sharded.mail.deliver([replace(new_message(ann), blob=blob)], enqueue=[out])
    assert await sharded._database.fetchval("SELECT count(*) FROM queue_recipient") == 1
    await check(sharded)


async def test_a_delivery_that_one_shard_refuses_is_made_whole_by_its_repeat(
    sharded: Storage, new_message: MakeMessage
) -> None:
    ann, ned, _ = await people(sharded)
    await (await sharded.shards.of(ann)).database.execute("UPDATE account_counter SET quota = 10")
    delivery = uuid4()
    messages = [new_message(each, delivery_id=delivery) for each in (ann, ned)]
    with pytest.raises(OverQuota):
        await sharded.mail.deliver(messages)
    await (await sharded.shards.of(ann)).database.execute("UPDATE account_counter SET quota = NULL")
    stored = await sharded.mail.deliver(messages)
    assert not stored[0].duplicate
    assert [box.total for box in (await sharded.mail.mailboxes(ned))[:1]] == [1]


async def test_a_submission_across_shards(sharded: Storage, new_message: MakeMessage) -> None:
    ann, ned, tom = await people(sharded)
    (stored,) = await sharded.mail.append([new_message(ann)])
    blob = await sharded.blobs.prepare(b"Subject: x\r\n\r\nx\r\n", accounts=[ann, ned, tom], queued=True)
    local = {
        f"{name}@example.org": [replace(new_message(number), blob=blob)]
        for name, number in [("ned", ned), ("tom", tom)]
    }
    outgoing = NewQueueMessage("ann@example.org", blob, [NewRecipient("x@example.net", "example.net")], account=ann)
    envelope = {"mailFrom": {"email": "ann@example.org"}, "rcptTo": []}
    made, sites = await sharded.submissions.submit(
        NewSubmission(ann, 1, stored.message, stored.thread, envelope), local, outgoing
    )
    assert sites == ("example.net",)
    assert made.delivered == {"ned@example.org", "tom@example.org"}
    (found,) = await sharded.submissions.all(ann)
    assert found.fates["x@example.net"].state is RecipientState.WAITING
    changes = await sharded.mail.changes(ann, ChangeKind.EMAIL_SUBMISSION, stored.modseq)
    assert changes.created == [made.id]
    for each in (ned, tom):
        assert (await sharded.mail.mailboxes(each))[0].total == 1


async def test_a_bounce_to_another_shard_waits_in_the_queue(sharded: Storage, new_message: MakeMessage) -> None:
    ann, _, tom = await people(sharded)
    blob = await sharded.blobs.prepare(b"Subject: x\r\n\r\nx\r\n", queued=True)
    await sharded.queue.enqueue(
        NewQueueMessage("ann@example.org", blob, [NewRecipient("x@example.net", "example.net")])
    )
    shard = sharded.queue.shard_of("example.net")
    (epoch,) = (await sharded.leases.acquire([f"queue/{shard}"], "me", 60)).values()
    (due,) = await sharded.queue.claim(shard, Epoch(epoch), 10)
    await sharded.queue.start_attempts([due.id], shard, Epoch(epoch))
    outcome = Outcome(due.id, Epoch(epoch), RecipientState.FAILED, "550 no", "5.1.1", "mx")
    bounces = [replace(new_message(each), blob=blob, delivery_id=uuid4()) for each in (ann, tom)]
    assert await sharded.queue.finish([outcome], shard, bounces) == 1
    assert (await sharded.mail.mailboxes(tom))[0].total == 1
    local = sharded.queue.shard_of(LOCAL_SITE)
    (epoch,) = (await sharded.leases.acquire([f"queue/{local}"], "me", 60)).values()
    (waiting,) = await sharded.queue.claim(local, Epoch(epoch), 10)
    assert (waiting.address, waiting.sender, waiting.notify) == ("ann@example.org", "", "NEVER")
    await check(sharded)


async def test_removed_accounts_leave_nothing(sharded: Storage, new_message: MakeMessage) -> None:
    ann, ned, _ = await people(sharded)
    await sharded.mail.append([new_message(ann), new_message(ned)])
    await sharded.directory.reset_account("ned@example.org")
    assert (await sharded.mail.mailboxes(ned))[0].total == 0
    await sharded.directory.delete_account("ann@example.org")
    with pytest.raises(AccountNotFound):
        await sharded.mail.append([new_message(ann)])
    east = (await sharded.shards.of(ned)).database
    assert await east.fetchval("SELECT count(*) FROM message") == 0
    for shard in sharded.shards:
        if shard.name == "east":
            for table in ("message", "mailbox", "change_log", "identity", "account_counter", "collection", "blob_ref"):
                assert await shard.database.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_a_wrong_database_is_refused(sharded: Storage, settings: StorageSettings) -> None:
    east, west = settings.shards
    swapped = replace(settings, shards=(replace(east, dsn=west.dsn), replace(west, dsn=east.dsn)))
    with pytest.raises(Unavailable, match="another one than its name says"):
        await Storage.open(swapped)
    with pytest.raises(Unavailable, match="another shard or cluster"):
        await register(swapped)
    unknown = replace(settings, shards=(ShardSettings("south", east.dsn),))
    with pytest.raises(Unavailable, match="not registered"):
        await Storage.open(unknown)
    await register(settings)


async def test_a_shard_that_is_not_in_the_settings(sharded: Storage, settings: StorageSettings) -> None:
    ann, ned, tom = await people(sharded)
    less = await Storage.open(replace(settings, shards=settings.shards[1:]))
    try:
        assert await less.mail.mailboxes(ned)
        assert await less.mail.mailboxes(tom)
        with pytest.raises(Unavailable, match="not in the settings"):
            await less.mail.mailboxes(ann)
        with pytest.raises(Unavailable, match="not part of the cluster"):
            await less.directory.add_account("bob@example.org", None)
    finally:
        await less.close()


async def test_a_home_with_accounts_cannot_become_a_shard(
    settings: StorageSettings, storage: Storage, account: Callable[..., Awaitable[object]], postgres_dsn: str
) -> None:
    await account()
    with pytest.raises(Unavailable, match="holds accounts already"):
        await register(replace(settings, shards=(ShardSettings("east", postgres_dsn),)))


async def test_registering_twice_at_once_gives_each_shard_one_number(settings: StorageSettings) -> None:
    await asyncio.gather(*(register(settings) for _ in range(4)))
    await migrate(settings.dsn)
    opened = await Storage.open(settings)
    try:
        assert {shard.name: shard.number for shard in opened.shards} == {"postgres": 0, "east": 1, "west": 2}
    finally:
        await opened.close()


async def test_work_is_done_again_where_others_have_looked_the_account_up_meanwhile(sharded: Storage) -> None:
    ann = (await people(sharded))[0]
    shards, tries = sharded.shards, 0

    async def gone_at_first() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            # What somebody else does who found it gone: from now on the new place is what is remembered.
            shards.placements.forget([ann])
            await shards.placements.of_all([ann])
            raise AccountNotFound(account=ann)
        return tries

    async def gone() -> None:
        nonlocal tries
        tries += 1
        raise AccountNotFound(account=ann)

    assert await shards.follow([ann], gone_at_first) == 2
    with pytest.raises(AccountNotFound):
        await shards.follow([ann], gone)
    assert tries == 4
