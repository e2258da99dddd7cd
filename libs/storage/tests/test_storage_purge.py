"""Purging in bounded steps: what is needed stays, what is done under a lost lease changes nothing."""

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import pytest_asyncio

from posthorn_model.errors import CannotCalculateChanges
from posthorn_model.events import ChangeKind
from posthorn_model.ids import AccountId, Epoch, Modseq
from posthorn_storage import AccountRecord, Fence, Storage
from posthorn_storage.blobs import collect
from posthorn_storage.purge import CHANGES, DEDUPE, PURGE_LEASE, TRIM, UPLOADS, Share
from posthorn_storage.queue import sql as queue_sql
from posthorn_storage.removal import Removal
from posthorn_storage.schema import metadata

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
DAY = timedelta(days=1)


@pytest_asyncio.fixture
async def epoch(storage: Storage) -> Epoch:
    return (await storage.leases.acquire(["roles/purge"], "me", 3600))["roles/purge"]


async def test_the_change_log_is_trimmed_behind_its_horizon(
    storage: Storage, account: MakeAccount, epoch: Epoch
) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org")
    for name in ("a", "b", "c"):
        await storage.mail.create_mailbox(ann.id, name)
    await storage._database.execute(
        "UPDATE change_log SET at = now() - interval '2 days' WHERE account_id = $1 AND modseq <= 3", ann.id
    )
    old = await storage._database.fetchval("SELECT count(*) FROM change_log WHERE at < now() - interval '1 day'")
    young = await storage._database.fetchval("SELECT count(*) FROM change_log") - old
    assert old > 3
    assert await storage.purge.purge_changes(Epoch(epoch + 1), DAY, 100) == 0
    assert await storage.purge.purge_changes(epoch, DAY, 3) == 3
    assert await storage.purge.purge_changes(epoch, DAY, 100) == old - 3
    assert await storage.purge.purge_changes(epoch, DAY, 100) == 0
    assert await storage._database.fetchval("SELECT count(*) FROM change_log") == young
    horizons = "SELECT horizon FROM account_counter WHERE account_id = $1"
    assert await storage._database.fetchval(horizons, ann.id) == 3
    assert await storage._database.fetchval(horizons, bob.id) == 0


@pytest.mark.leaves_rows
async def test_deliveries_are_forgotten_after_a_week(storage: Storage) -> None:
    columns = "account_id, key, message_id, at"
    ages = f"INSERT INTO delivery_seen ({columns}) VALUES (1, $1, 1, now() - make_interval(days => $2))"
    for key, days in ((b"d1", 1), (b"d2", 8), (b"i1", 6), (b"i2", 9)):
        await storage._database.execute(ages, key, days)
    assert await storage.purge.purge_dedupe(1) == 1
    assert await storage.purge.purge_dedupe(100) == 1
    assert await storage.purge.purge_dedupe(100) == 0
    kept = [row["key"] for row in await storage._database.fetch("SELECT key FROM delivery_seen ORDER BY key")]
    assert kept == [b"d1", b"i1"]


async def test_an_account_keeps_so_many_changes_and_no_more(
    storage: Storage, account: MakeAccount, epoch: Epoch
) -> None:
    ann, bob = (await account("ann@example.org")).id, (await account("bob@example.org")).id
    for name in range(60):
        await storage.mail.create_mailbox(ann, str(name))
    await storage.mail.create_mailbox(bob, "one")
    state = await storage.mail.state(ann)

    async def purge(limit: int, most: int = 50, epoch: Epoch = epoch) -> int:
        return await storage.purge.purge_changes(epoch, DAY, limit, most=most)

    assert await purge(1000, most=state) == 0
    assert await purge(1000, epoch=Epoch(epoch + 1)) == 0
    horizon = "SELECT horizon FROM account_counter WHERE account_id = $1"
    assert await purge(3) > 0
    assert await storage._database.fetchval(horizon, ann) < state - 50, "bounded, by the span of modseqs"
    while await purge(3):
        pass
    assert 50 <= state - await storage._database.fetchval(horizon, ann) <= 55
    for name in range(5):
        await storage.mail.create_mailbox(ann, f"more {name}")
    state = await storage.mail.state(ann)
    assert await purge(1000) > 0
    assert await storage._database.fetchval(horizon, ann) == state - 50
    count = "SELECT count(*) FROM change_log WHERE account_id = $1"
    assert await storage._database.fetchval(count, ann) == 50
    assert len((await storage.mail.changes(ann, ChangeKind.MAILBOX, Modseq(state - 50))).created) == 50
    with pytest.raises(CannotCalculateChanges):
        await storage.mail.changes(ann, ChangeKind.MAILBOX, Modseq(state - 51))
    assert await storage.mail.changes(bob, ChangeKind.MAILBOX, Modseq(1))
    # A few more may gather before it is trimmed again.
    for name in range(5):
        await storage.mail.create_mailbox(ann, f"last {name}")
    assert await purge(1000) == 0


MANY = (
    "INSERT INTO account_counter (account_id, uidvalidity, modseq) SELECT n, 1, 1000 FROM generate_series(1, 200) n",
    "INSERT INTO change_log (account_id, kind, modseq, object_id, op, at) SELECT n % 200 + 1, 2, n / 200, n, 2, "
    "now() - n * interval '1 minute' FROM generate_series(1, 40000) n",
    "INSERT INTO delivery_seen SELECT n % 200, ('i' || n)::bytea, n, now() - n * interval '1 minute' "
    "FROM generate_series(1, 40000) n",
    "INSERT INTO blob (key, size, state, encoding, inline, touched_at) SELECT sha256(n::text::bytea), 1, 1, 0, 'x', "
    "CASE WHEN n % 10 = 0 THEN now() - n * interval '1 second' END FROM generate_series(1, 40000) n",
    "INSERT INTO blob_ref (blob_key, kind, account_id, ref_id, expires_at) SELECT sha256(n::text::bytea), 3, 1, n, "
    "CASE WHEN n % 10 = 0 THEN now() + interval '1 hour' - n * interval '1 second' END "
    "FROM generate_series(1, 40000) n",
    "INSERT INTO queue_message (sender, blob_key, size, smtputf8, eight_bit, done_at) SELECT '', '', 1, false, false, "
    "now() - n * interval '1 minute' FROM generate_series(1, 40000) n",
    "INSERT INTO queue_recipient (message_id, shard, due, state, site, address) SELECT id, 1, now(), 2, '', '' "
    "FROM queue_message",
    "INSERT INTO queue_event (message_id, kind) SELECT id, 'queued' FROM queue_message",
    "ANALYZE",
)
BIG = ("change_log", "delivery_seen", "blob", "blob_ref", "queue_message", "queue_recipient", "queue_event")


@pytest.mark.leaves_rows
async def test_no_step_reads_a_big_table_whole(storage: Storage) -> None:
    """Whether there is much, little or nothing to remove."""
    for statement in MANY:
        await storage._database.execute(statement)
    day, long = DAY.total_seconds(), 90 * DAY.total_seconds()
    steps = {
        "much": ((CHANGES, (day, 100, 1, 0)), (CHANGES, (day, 100, 4, 3)), (DEDUPE, (day, 100)),
                 (UPLOADS, (3, 100)), (TRIM, (7, 100, 100, [1, 2, 3])),
                 (queue_sql.PURGE, (day, 100)), (collect.LOCK, (3600.0, 100))),
        "nothing": ((CHANGES, (long, 100, 1, 0)), (CHANGES, (long, 100, 4, 3)), (DEDUPE, (long, 100)),
                    (queue_sql.PURGE, (long, 100)),
                    (collect.LOCK, (long, 100))),
    }  # fmt: skip
    for case, statements in steps.items():
        for statement, arguments in statements:
            plan = await storage._database.fetch(f"EXPLAIN {statement}", *arguments)
            text = "\n".join(row[0] for row in plan)
            for table in BIG:
                assert not re.search(rf"Seq Scan on {table}\b", text), f"{case}:\n{text}"
            assert "Index" in text


# Shape of tables


async def test_tables_are_kept_as_the_schema_says(storage: Storage) -> None:
    """Alembic compares no storage parameters: this does."""
    rows = await storage._database.fetch("SELECT relname, reloptions FROM pg_class WHERE relkind = 'r'")
    found = {row["relname"]: dict(one.split("=") for one in row["reloptions"] or ()) for row in rows}
    for table in metadata.sorted_tables:
        given = table.dialect_options["postgresql"]["with"] or {}
        wanted = {name: str(value) for name, value in given.items()}
        assert found[table.name] == wanted, table.name


async def test_leases_are_renewed_for_ever_in_the_same_pages(storage: Storage) -> None:
    """Nothing is vacuumed here: a renewal touches no index and is cleaned up within its page."""
    keys = [f"queue/{number}" for number in range(64)]
    held = await storage.leases.acquire(keys, "me", 3600)
    size = "SELECT pg_relation_size('lease')"
    for _ in range(20):
        await storage.leases.renew(held, "me", 3600)
    before = await storage._database.fetchval(size)
    for _ in range(300):
        await storage.leases.renew(held, "me", 3600)
    assert await storage._database.fetchval(size) <= before + 8192


async def test_the_queue_stays_small_when_it_is_vacuumed_as_asked_for(storage: Storage) -> None:
    """Rounds of as many attempts as autovacuum waits for, a vacuum after each: the table does not grow with them."""
    options = dict(
        one.split("=")
        for one in await storage._database.fetchval("SELECT reloptions FROM pg_class WHERE relname = 'queue_recipient'")
    )
    rows = 5000
    dead = int(options["autovacuum_vacuum_threshold"]) + int(rows * float(options["autovacuum_vacuum_scale_factor"]))
    assert dead < rows / 2
    await storage._database.execute(
        "INSERT INTO queue_message (sender, blob_key, size, smtputf8, eight_bit) VALUES ('', '', 1, false, false)"
    )
    await storage._database.execute(
        "INSERT INTO queue_recipient (message_id, shard, due, state, site, address) "
        "SELECT (SELECT id FROM queue_message), n % 16, now(), 0, 'example.net', 'x@example.net' "
        "FROM generate_series(1, $1::int) n",
        rows,
    )
    size = "SELECT pg_table_size('queue_recipient') + pg_indexes_size('queue_recipient')"
    sizes = []
    for _ in range(12):
        for state, due in ((1, "due"), (0, "now() + interval '1 minute'")):
            await storage._database.execute(
                f"UPDATE queue_recipient SET state = $1, due = {due} WHERE id IN "
                "(SELECT id FROM queue_recipient ORDER BY due, id LIMIT $2)",
                state,
                dead // 2,
            )
        await storage._database.execute("VACUUM queue_recipient")
        sizes.append(await storage._database.fetchval(size))
    assert sizes[-1] <= 1.5 * sizes[2], sizes


async def test_removing_an_account_goes_on_where_it_was_cut_short(
    storage: Storage, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org")
    await storage.blobs.upload(ann.id, b"x")
    await storage.blobs.upload(bob.id, b"x")

    async def cut_short(self: Removal, account: AccountId, limit: int, hold: object) -> int:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(Removal, "step", cut_short)
        with pytest.raises(ConnectionError):
            await storage.directory.delete_account("ann@example.org")
    assert not (await storage.recipients.find(["ann@example.org"]))["ann@example.org"].known
    count = "SELECT count(*) FROM mailbox WHERE account_id = $1"
    assert await storage._database.fetchval(count, ann.id) == 6
    steps = 0
    while await storage.purge.purge_accounts(3):
        steps += 1
    assert steps > 3
    assert await storage._database.fetchval(count, ann.id) == 0
    assert await storage._database.fetchval(count, bob.id) == 6
    assert await storage._database.fetchval("SELECT count(*) FROM removed_account") == 0
    refs = await storage._database.fetch("SELECT account_id FROM blob_ref")
    assert [row["account_id"] for row in refs] == [bob.id]


async def test_shares_purge_their_own_accounts(storage: Storage, account: MakeAccount, epoch: Epoch) -> None:
    accounts = [(await account(f"a{number}@example.org")).id for number in range(4)]
    await storage._database.execute("UPDATE change_log SET at = now() - interval '3 days'")
    shares = [Share(part, 2) for part in range(2)]

    async def left(share: Share) -> int:
        rows = await storage._database.fetch("SELECT DISTINCT account_id FROM change_log")
        return sum(share.has(row[0]) for row in rows)

    assert all([await left(share) for share in shares])
    await storage.purge.purge_changes(epoch, DAY, 10_000, share=shares[0])
    assert [await left(share) for share in shares] == [0, sum(map(shares[1].has, accounts))]
    for one in accounts:
        await storage._database.execute("INSERT INTO removed_account (account_id, shard) VALUES ($1, 0)", one)
    while await storage.purge.purge_accounts(1000, share=shares[1]):
        pass
    rows = await storage._database.fetch("SELECT account_id FROM removed_account")
    assert sorted(row[0] for row in rows) == sorted(filter(shares[0].has, accounts))


async def test_under_another_epoch_no_step_removes_anything(
    storage: Storage, account: MakeAccount, epoch: Epoch
) -> None:
    """Whatever is given a fence checks it, also where the database's clock alone says what has ended."""
    ann = (await account("ann@example.org")).id
    await storage.blobs.upload(ann, b"x")
    old = "now() - interval '30 days'"
    for statement in (
        f"UPDATE blob_ref SET expires_at = {old}",
        f"INSERT INTO delivery_seen (account_id, key, message_id, at) VALUES (1, 'd1', 1, {old})",
        f"INSERT INTO lookup_counter (key, sum, until) VALUES ('k', 1, {old})",
        f"INSERT INTO share (grantee_id, owner_id, at) VALUES ({ann}, {ann}, {old})",
        "INSERT INTO process (boot, node_id, service, hostname, state, seen_at) "
        f"VALUES ('b', 1, 's', 'h', 'left', {old})",
        f"INSERT INTO removed_account (account_id, shard) VALUES ({ann}, 0)",
    ):
        await storage._database.execute(statement)
    purge = storage.purge

    async def removed(fence: Fence) -> list[int]:
        return [
            await purge.purge_uploads(10, fence=fence),
            await purge.purge_dedupe(10, fence=fence),
            await purge.purge_lookups(10, fence=fence),
            await purge.purge_shares(10, fence=fence),
            await purge.purge_processes(10, fence=fence),
            await purge.purge_accounts(10, fence=fence),
        ]

    assert await removed(Fence(PURGE_LEASE, Epoch(epoch + 1))) == [0] * 6
    assert await removed(Fence(PURGE_LEASE, Epoch(epoch - 1))) == [0] * 6
    assert all(await removed(Fence(PURGE_LEASE, epoch)))
    await storage.leases.release({PURGE_LEASE: epoch}, "me")


async def test_processes_long_gone_are_forgotten(storage: Storage) -> None:
    await storage._database.execute(
        "INSERT INTO process (boot, node_id, service, hostname, state, seen_at) VALUES "
        "('old', 1, 'imap', 'h', 'left', now() - interval '2 days'), ('new', 1, 'imap', 'h', 'left', now())"
    )
    assert await storage.purge.purge_processes(10) == 1
    assert [found.boot for found in await storage.nodes.all()] == ["new"]
