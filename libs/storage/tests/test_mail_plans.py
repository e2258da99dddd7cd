"""Statements that run for each request or message keep one plan: to make it anew takes longer than to run it.

PostgreSQL plans a statement anew for its first five executions, and from then on only where that looks cheaper.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from uuid import uuid4

import pytest

from posthorn_model.events import ChangeKind
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.ids import AccountId, BlobKey, MailboxId, Modseq
from posthorn_model.mail import NewMessage, Role
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Outcome, RecipientState
from posthorn_storage import AccountRecord, Storage, StorageSettings
from posthorn_storage.blobs import attach, reading
from posthorn_storage.database.plans import one_plan
from posthorn_storage.directory import sql as directory_sql
from posthorn_storage.mail import (
    append_sql,
    changes,
    expunge,
    flags,
    journal,
    mailboxes,
    messages,
    threads,
    updates,
    view,
)
from posthorn_storage.mail.messages import MessageFields
from posthorn_storage.mail.updates import MessageUpdate
from posthorn_storage.queue import sql as queue_sql
from posthorn_storage.queue.attempts import Claim

MakeMessage = Callable[..., NewMessage]
Turn = Callable[[int], Awaitable[object]]
FIELDS = MessageFields.SUMMARY | MessageFields.MAILBOXES
TURNS = 12
ANEW = 5
"""Executions that PostgreSQL always makes a plan for (plancache.c, choose_custom_plan)."""
AS_IF_FULL = (
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET random_page_cost = 100"
)
"""Of tables with few rows the whole is read, and then it does not matter what is looked for."""
UNANALYZED = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = off)', name);
    END LOOP;
END $$
"""
"""What is compared stays the same while the test runs: no statistics of the few rows come in between."""
PLANS = "SELECT statement, generic_plans, custom_plans FROM pg_prepared_statements"


def test_the_first_array_of_a_list_is_hidden() -> None:
    assert one_plan("unnest($1::bigint[], $2::text[])") == "unnest((SELECT $1::bigint[]), $2::text[])"
    assert one_plan("id = ANY ($1::bigint[])") == "id = ANY ((SELECT $1::bigint[])::bigint[])"


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    """One connection, so that all statements are prepared where the test looks for them."""
    if storage_settings.pools.mode == "transaction":
        pytest.skip("through a pooler in transaction mode no statement stays prepared")
    return replace(storage_settings, pool_size=1)


async def turns(
    storage: Storage, account: AccountId, turn: Turn, statements: Collection[str], as_if: str = AS_IF_FULL
) -> None:
    """Run `turn` a dozen times: what it ran of `statements` must be planned anew no more often than must be."""
    home, own = storage.shards.home.database, (await storage.shards.of(account)).database
    for database in (home, own):
        await database.execute(UNANALYZED)
        await database.execute(as_if)
    for number in range(TURNS):
        await turn(number)
    plans = {row["statement"]: row for row in [*await home.fetch(PLANS), *await own.fetch(PLANS)]}
    run = {statement: (plans[statement]["custom_plans"], plans[statement]["generic_plans"]) for statement in statements}
    assert all(anew + kept >= TURNS for anew, kept in run.values()), run
    assert [statement for statement, (anew, _) in run.items() if anew > ANEW] == []


@pytest.mark.postgres
async def test_reading_keeps_its_plans(
    storage: Storage, account: Callable[..., Awaitable[AccountRecord]], new_message: MakeMessage
) -> None:
    ann = (await account()).id
    inbox = await box_of(storage, ann, Role.INBOX)
    stored = await storage.mail.append([new_message(ann, inbox, subject=f"n {n}") for n in range(TURNS)])

    async def turn(n: int) -> None:
        (found,) = await storage.mail.messages(ann, [stored[n].message], FIELDS)
        assert await storage.mail.threads(ann, [found.thread]) == {found.thread: [found.id]}
        await storage.mail.mailboxes_of([ann])
        await storage.mail.mailboxes_with(Role.SENT, [ann])
        await storage.recipients.find([f"nobody{n}@example.org"])
        assert not await storage.directory.may_send_as(ann, f"nobody{n}@example.org")
        await (await storage.shards.of(ann)).blobs.warm([BlobKey((2 * n + k).to_bytes(32)) for k in (0, 1)])

    read = [
        messages._by_id(FIELDS),
        threads.MESSAGES,
        mailboxes.ALL_OF_MANY,
        mailboxes.WITH_ROLE,
        directory_sql.RESOLVE,
        directory_sql.MAY_SEND_AS,
        reading.FIND_INLINE,
    ]
    await turns(storage, ann, turn, read)


@pytest.mark.postgres
async def test_what_came_last_is_read_with_the_same_plan(
    storage: Storage, account: Callable[..., Awaitable[AccountRecord]], new_message: MakeMessage
) -> None:
    """PostgreSQL knows from its statistics how few changes are later than a modseq near the last."""
    ann = (await account()).id
    inbox = await box_of(storage, ann, Role.INBOX)
    stored = await storage.mail.append([new_message(ann, inbox, subject=f"n {n}") for n in range(300)])
    uids = [message.uids[0][2] for message in stored]
    for op in ("add", "remove") * 15:
        await storage.mail.set_flags(ann, inbox, uids, op=op, system=SystemFlag.FLAGGED)
    await storage.mail.append([new_message(ann, inbox, subject=f"late {n}") for n in range(3)])
    last = await storage.mail.state(ann)
    database = (await storage.shards.of(ann)).database
    for table in ("change_log", "mailbox_message"):
        await database.execute(f"ANALYZE {table}")

    async def turn(n: int) -> None:
        since = Modseq(last - n % 3)
        found = await storage.mail.changes(ann, ChangeKind.EMAIL, since, 5)
        assert len(found.created) == n % 3
        assert len((await storage.mail.view(ann, inbox, since)).entries) == n % 3

    await turns(storage, ann, turn, [changes.READ, view.SINCE], as_if="SET enable_seqscan = off")


@pytest.mark.postgres
async def test_changing_keeps_its_plans(
    storage: Storage, account: Callable[..., Awaitable[AccountRecord]], new_message: MakeMessage
) -> None:
    ann = (await account()).id
    inbox, archive = await box_of(storage, ann, Role.INBOX), await box_of(storage, ann, Role.ARCHIVE)

    async def turn(n: int) -> None:
        new = new_message(ann, subject=f"n {n}", message_id=f"<{n}@x>", delivery_id=uuid4())
        (stored,) = await storage.mail.deliver([new])
        await storage.mail.set_flags(
            ann, inbox, [stored.uids[0][2]], op="add", system=SystemFlag.SEEN, keywords=frozenset({"k"})
        )
        flagged = MessageUpdate(stored.message, add_flags=Flags(SystemFlag.FLAGGED, frozenset()))
        moved = MessageUpdate(stored.message, mailboxes=frozenset({archive}))
        for update in (flagged, moved):
            assert await storage.mail.update_messages(ann, [update]) == {stored.message: None}
        await storage.blobs.upload(ann, f"upload {n}".encode())
        assert await storage.mail.destroy_messages(ann, [stored.message]) == ([stored.message], [])

    changed = [
        append_sql.READ,
        append_sql.WRITE,
        journal.LOCK,
        journal.MAILBOXES,
        journal.FLUSH,
        flags.SET["add"],
        updates.REFLAG,
        updates.LEAVE,
        expunge.ORPHANS,
        attach.LOCK,
        attach.RELEASE,
    ]
    await turns(storage, ann, turn, changed)


@pytest.mark.postgres
async def test_sending_keeps_its_plans(storage: Storage, account: Callable[..., Awaitable[AccountRecord]]) -> None:
    ann = (await account()).id
    shard = storage.queue.shard_of("example.net")
    other = (shard + 1) % storage.queue.shards
    leases = await storage.leases.acquire([f"queue/{number}" for number in (shard, other)], "me", 3600)
    epoch = leases[f"queue/{shard}"]

    async def turn(n: int) -> None:
        blob = await storage.blobs.prepare(f"Subject: {n}\r\n\r\n".encode())
        await storage.queue.enqueue(
            NewQueueMessage("ann@example.org", blob, [NewRecipient("b@example.net", "example.net")])
        )
        (due,), _ = await storage.queue.claim_all([Claim(shard, epoch, 1), Claim(other, leases[f"queue/{other}"], 1)])
        await storage.queue.start_attempts([due.id], shard, epoch)
        ended = Outcome(due.id, epoch, RecipientState.DELIVERED, "250 ok", "2.0.0", "mx.example.net", None, None)
        assert await storage.queue.finish([ended], shard) == 1

    await turns(storage, ann, turn, [attach.LOCK, queue_sql.CLAIM_EACH, queue_sql.START, queue_sql.FINISH])


async def box_of(storage: Storage, account: AccountId, role: Role) -> MailboxId:
    return next(box.id for box in await storage.mail.mailboxes(account) if box.role is role)


FEW = [1, 2, 3]


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("statement", "arguments", "index"),
    [
        pytest.param(messages._by_id(MessageFields.NONE), [FEW], "pk_message", id="messages"),
        pytest.param(threads.MESSAGES, [FEW], "ix_message_thread", id="threads"),
        pytest.param(expunge.ORPHANS, [FEW], "pk_message", id="orphans"),
        pytest.param(updates.LEAVE, [FEW, FEW], "pk_mailbox_message", id="leave"),
        pytest.param(updates.REFLAG, [FEW, FEW, [0] * 3, [""] * 3, FEW], "pk_mailbox_message", id="reflag"),
    ],
)
async def test_each_is_looked_for_by_itself_in_tables_of_which_nothing_is_known(
    storage: Storage, statement: str, arguments: list[list[object]], index: str
) -> None:
    rows = await storage._database.fetch(f"EXPLAIN {statement}", 1, *arguments)
    plan = "\n".join(row[0] for row in rows)
    assert f"using {index} on" in plan, plan
    assert not any(word in plan for word in ("Seq Scan", "Hash", "Memoize", "Merge")), plan
