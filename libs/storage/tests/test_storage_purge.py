"""Purging in bounded steps: what is needed stays, what is done under a lost lease changes nothing."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import pytest_asyncio

from posthorn_model.ids import AccountId, Epoch
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.removal import Removal

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


async def test_delivery_ids_outlive_digests(storage: Storage) -> None:
    columns = "account_id, key, message_id, at"
    ages = f"INSERT INTO delivery_seen ({columns}) VALUES (1, $1, 1, now() - make_interval(secs => $2))"
    hour = 3600.0
    for key, age in ((b"d1", 0.5 * hour), (b"d2", 2 * hour), (b"i1", 2 * hour), (b"i2", 24 * 8 * hour)):
        await storage._database.execute(ages, key, age)
    assert await storage.purge.purge_dedupe(1) == 1
    assert await storage.purge.purge_dedupe(100) == 1
    assert await storage.purge.purge_dedupe(100) == 0
    kept = [row["key"] for row in await storage._database.fetch("SELECT key FROM delivery_seen ORDER BY key")]
    assert kept == [b"d1", b"i1"]


async def test_removing_an_account_goes_on_where_it_was_cut_short(
    storage: Storage, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org")
    await storage.blobs.upload(ann.id, b"x")
    await storage.blobs.upload(bob.id, b"x")

    async def cut_short(self: Removal, account: AccountId, limit: int) -> int:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(Removal, "step", cut_short)
        with pytest.raises(ConnectionError):
            await storage.directory.delete_account("ann@example.org")
    assert await storage.directory.resolve(["ann@example.org"]) == {"ann@example.org": ()}
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


async def test_processes_long_gone_are_forgotten(storage: Storage) -> None:
    await storage._database.execute(
        "INSERT INTO process (boot, node_id, service, hostname, state, seen_at) VALUES "
        "('old', 1, 'imap', 'h', 'left', now() - interval '2 days'), ('new', 1, 'imap', 'h', 'left', now())"
    )
    assert await storage.purge.purge_processes(10) == 1
    assert [found.boot for found in await storage.nodes.all()] == ["new"]
