"""Push subscriptions on the real PostgreSQL: what clients see of them, who is behind, and writes under a lease."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from posthorn_model.errors import InvalidContent, LeaseLost, NotFound, OverQuota, SecretMissing, WrongSecret
from posthorn_model.events import ChangeKind
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import AccountId
from posthorn_model.mail import Role
from posthorn_storage import AccountRecord, Fence, Storage, StorageSettings
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.push import BadUrl, NewSubscription, Outcome, PushStore, is_point, push_url
from posthorn_storage.push.urls import allowed

pytestmark = pytest.mark.postgres

Account = Callable[..., Awaitable[AccountRecord]]
URL = "https://push.example.net/abc?x=1"
NEW = NewSubscription("device 1", URL, (b"\x04" + b"p" * 64, b"a" * 16))
LEASE = "role/push.send"


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    return replace(storage_settings, secrets=("the secret of all nodes",))


async def code_of(storage: Storage, number: int) -> str:
    code: str = await storage._database.fetchval("SELECT code FROM push_subscription WHERE id = $1", number)
    return code


async def verified(storage: Storage, account: AccountId, new: NewSubscription = NEW) -> int:
    """A subscription whose code was pushed and said back."""
    made = await storage.push.add(account, new, 10)
    fence = await held(storage)
    await storage.push.tasks()["postgres"].settle(fence, [Outcome(account, made.id, greeted=True)])
    await storage.push.change(account, made.id, code=await code_of(storage, made.id))
    return made.id


async def held(storage: Storage, owner: str = "me") -> Fence:
    return Fence(LEASE, (await storage.leases.acquire([LEASE], owner, 60))[LEASE])


async def inbox(storage: Storage, account: AccountId) -> int:
    return next(box.id for box in await storage.mail.mailboxes(account) if box.role is Role.INBOX)


async def test_a_subscription_is_made_verified_prolonged_and_destroyed(storage: Storage, account: Account) -> None:
    ann, bob = (await account("ann@example.org")).id, (await account("bob@example.org")).id
    now = datetime.now(UTC)
    made = await storage.push.add(ann, replace(NEW, expires=now + timedelta(days=90)), 10)
    assert timedelta(days=6.9) < made.expires - now < timedelta(days=7.1)
    assert (made.verified, made.types, made.expires.microsecond) == (False, None, 0)
    assert made.code not in repr(made)
    assert await storage.push.all(ann) == [made]
    assert await storage.push.all(bob) == []
    with pytest.raises(InvalidContent):
        await storage.push.change(ann, made.id, code="another", types=(("Email",),))
    assert await storage.push.all(ann) == [made], "nothing of it was changed"
    with pytest.raises(NotFound):
        await storage.push.change(bob, made.id, code=made.code)
    soon = now.replace(microsecond=0) + timedelta(days=3)
    changed = await storage.push.change(ann, made.id, code=made.code, types=(("Email",),), expires=(soon,))
    assert (changed.verified, changed.types, changed.expires) == (True, ("Email",), soon)
    with pytest.raises(NotFound):
        await storage.push.remove(bob, made.id)
    await storage.push.remove(ann, made.id)
    with pytest.raises(NotFound):
        await storage.push.remove(ann, made.id)


async def test_there_are_few_of_an_account_and_expired_ones_do_not_count(storage: Storage, account: Account) -> None:
    ann = (await account("ann@example.org")).id
    first = await storage.push.add(ann, NEW, 2)
    await storage.push.add(ann, NEW, 2)
    with pytest.raises(OverQuota, match="at most 2"):
        await storage.push.add(ann, NEW, 2)
    await storage._database.execute(
        "UPDATE push_subscription SET expires_at = now() - interval '1 s' WHERE id = $1", first.id
    )
    assert first.id not in [found.id for found in await storage.push.all(ann)]
    await storage.push.add(ann, NEW, 2)
    await storage._database.execute("UPDATE push_subscription SET expires_at = now() - interval '1 s'")
    assert await storage.purge.purge_pushes(1) == 1
    assert await storage.purge.purge_pushes(10) == 1
    assert await storage.purge.purge_pushes(10) == 0


async def test_subscriptions_end_with_their_password_and_outlive_a_reset(storage: Storage, account: Account) -> None:
    ann = (await account("ann@example.org")).id
    made = await storage.push.add(ann, NEW, 10)
    await storage.directory.reset_account("ann@example.org")
    assert await storage.push.all(ann) == [made]
    await storage.directory.set_password("ann@example.org", "another password")
    assert await storage.push.all(ann) == []


async def test_who_is_behind_is_told_what_changed(storage: Storage, account: Account, new_message: Any) -> None:
    ann = (await account("ann@example.org")).id
    box = await inbox(storage, ann)
    tasks = storage.push.tasks()["postgres"]
    made = await storage.push.add(ann, NEW, 10)
    (greeting,), _ = await tasks.due(10)
    assert (greeting.id, greeting.verified, greeting.code) == (made.id, False, made.code)
    assert greeting.keys == NEW.keys
    assert all(secret not in repr(greeting) for secret in (made.code, "abc", "aaaa"))
    fence = await held(storage)
    await tasks.settle(fence, [Outcome(ann, made.id, greeted=True)])
    await storage.mail.append([new_message(ann, box)])
    assert await tasks.due(10) == ([], []), "nothing more is sent before the code came back"
    await storage.push.change(ann, made.id, code=made.code)
    (push,), _ = await tasks.due(10)
    assert set(push.kinds) == {ChangeKind.MAILBOX, ChangeKind.EMAIL, ChangeKind.EMAIL_DELIVERY, ChangeKind.THREAD}
    assert push.modseq == await storage.mail.state(ann)
    assert await tasks.counts() == (1, 1)
    assert await tasks.due(10, without=[made.id]) == ([], [])
    assert await tasks.due(10, accounts=[AccountId(ann + 1)]) == ([], [])
    assert await tasks.due(10, part=(ann + 1) % 2, parts=2) == ([], [])
    assert len((await tasks.due(10, accounts=[ann], part=ann % 2, parts=2))[0]) == 1
    await tasks.settle(fence, [Outcome(ann, made.id, modseq=push.modseq, pushed=True)])
    assert await tasks.due(10) == ([], [])
    assert await tasks.counts() == (1, 0)
    (entry,) = await storage.mail.entries(ann, box)
    await storage.mail.set_flags(ann, box, [entry.uid], op="add", system=SystemFlag.SEEN)
    (push,), _ = await tasks.due(10)
    assert ChangeKind.EMAIL in push.kinds
    assert ChangeKind.EMAIL_DELIVERY not in push.kinds
    await storage.push.change(ann, made.id, types=(("Identity", "NoSuchType"),))
    (push,), _ = await tasks.due(10)
    assert push.kinds == ()
    await storage._database.execute("UPDATE account_counter SET horizon = modseq")
    (push,), _ = await tasks.due(10)
    assert push.kinds == (ChangeKind.IDENTITY,), "behind the horizon everything may have changed"


async def test_failures_are_counted_and_put_off(storage: Storage, account: Account, new_message: Any) -> None:
    ann = (await account("ann@example.org")).id
    number = await verified(storage, ann)
    await storage.mail.append([new_message(ann, await inbox(storage, ann))])
    tasks, fence = storage.push.tasks()["postgres"], await held(storage)
    await tasks.settle(fence, [Outcome(ann, number, problem="answered 503\0", pause=60.0)])
    assert await tasks.due(10) == ([], [])
    await storage._database.execute("UPDATE push_subscription SET due = now()")
    (push,), _ = await tasks.due(10)
    assert push.failures == 1
    await tasks.settle(fence, [Outcome(ann, number, gone=True)])
    assert await storage.push.all(ann) == []


async def test_a_late_holder_notes_nothing(storage: Storage, account: Account, new_message: Any) -> None:
    ann = (await account("ann@example.org")).id
    number = await verified(storage, ann)
    await storage.mail.append([new_message(ann, await inbox(storage, ann))])
    tasks, late = storage.push.tasks()["postgres"], await held(storage)
    await storage._database.execute("UPDATE lease SET until = now()")
    await held(storage, "somebody else")
    for outcome in (Outcome(ann, number, modseq=10**6, pushed=True), Outcome(ann, number, gone=True)):
        with pytest.raises(LeaseLost):
            await tasks.settle(late, [outcome])
    ((push,), _) = await tasks.due(10)
    assert push.id == number


@pytest.mark.leaves_rows
async def test_accounts_elsewhere_are_pushed_from_where_they_live(sharded: Storage, new_message: Any) -> None:
    ann = (await sharded.directory.add_account("ann@example.org", "a password")).id
    # What is not encrypted needs no secret.
    made = await sharded.push.add(ann, replace(NEW, keys=None), 10)
    await sharded.push.change(ann, made.id, code=made.code)
    await sharded.mail.append([new_message(ann, await inbox(sharded, ann))])
    assert {name: len((await tasks.due(10))[0]) for name, tasks in sharded.push.tasks().items()} == {
        "postgres": 0, "east": 1, "west": 0,
    }  # fmt: skip
    await sharded.moves.move(ann, "west")
    assert {name: len((await tasks.due(10))[0]) for name, tasks in sharded.push.tasks().items()} == {
        "postgres": 0, "east": 0, "west": 1,
    }  # fmt: skip
    fence = await held(sharded)
    ((push,), _) = await sharded.push.tasks()["west"].due(10)
    await sharded.push.tasks()["east"].settle(fence, [Outcome(ann, made.id, gone=True)])
    await sharded.push.tasks()["west"].settle(fence, [Outcome(ann, made.id, modseq=push.modseq, pushed=True)])
    assert [found.id for found in await sharded.push.all(ann)] == [made.id]
    assert (await sharded.push.tasks()["west"].due(10))[0] == []


async def test_the_key_is_made_once_and_sealed_anew(storage: Storage, account: Account) -> None:
    ann = (await account("ann@example.org")).id
    await storage.push.add(ann, NEW, 10)
    keys = await asyncio.gather(*(storage.push.vapid_key() for _ in range(4)))
    assert len({key.public for key in keys}) == 1
    assert is_point(keys[0].public)
    assert load_der_private_key(keys[0].private, None)
    assert "private" not in repr(keys[0])
    shards = storage.shards
    with pytest.raises(SecretMissing):
        await PushStore(shards, KeyRing([])).vapid_key()
    with pytest.raises(WrongSecret):
        await PushStore(shards, KeyRing(["another secret"])).vapid_key()
    other = PushStore(shards, KeyRing(["another secret", "the secret of all nodes"]))
    assert await other.reseal() == 2
    assert await other.reseal() == 0
    assert await PushStore(shards, KeyRing(["another secret"])).vapid_key() == keys[0]
    found, settled = await storage.push.tasks()["postgres"].due(10)
    assert found == []
    assert [(each.account, bool(each.problem)) for each in settled] == [(ann, True)]


@pytest.mark.parametrize(
    "url",
    [
        "http://push.example.net/",
        "ftp://push.example.net/",
        "https://",
        "https:///x",
        "https://ann:secret@push.example.net/",
        "https://push.example.net/#part",
        "https://push.example.net:0/",
        "https://push.example.net:99999/",
        "https://localhost/",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/x",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:0a00:0001::]/",
        "https://[fe80::1%25eth0]/",
        "https://169.254.169.254/latest/meta-data",
        "https://224.0.0.1/",
        "https://0.0.0.0/",
        "https://push.example.net/\r\nX: y",
        "https://push.example.net/ä",
        "https://push.example.net\\@10.0.0.1/",
        "https://push.example.net/" + "x" * 2000,
    ],
)
def test_urls_that_nothing_is_pushed_to(url: str) -> None:
    with pytest.raises(BadUrl):
        push_url(url)


def test_urls_that_may_be_pushed_to() -> None:
    found = push_url("https://Push.Example.net./a/b?c=d")
    assert (found.host, found.port, found.target) == ("push.example.net", 443, "/a/b?c=d")
    assert (found.authority, found.origin) == ("push.example.net", "https://push.example.net")
    assert push_url("https://push.example.net:8443").origin == "https://push.example.net:8443"
    assert push_url("https://push.example.net:8443").target == "/"
    assert push_url("https://[2606:4700::1111]:444/x").authority == "[2606:4700::1111]:444"
    here = [ip_network("127.0.0.0/8")]
    assert push_url("https://127.0.0.1:1234/x", here).host == "127.0.0.1"
    assert allowed(ip_address("127.0.0.9"), here)
    assert not allowed(ip_address("10.0.0.9"), here)
