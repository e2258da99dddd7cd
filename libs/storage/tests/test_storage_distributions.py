"""Groups, forwards and lists on the real PostgreSQL: who is behind them, through loops and to their bounds."""

from collections.abc import Awaitable, Callable

import pytest

from posthorn_model.errors import AlreadyExists, InvalidAddress, NotFound, TooMany
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.directory.recipients import MAX_DEPTH, Found

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]


async def one(storage: Storage, address: str) -> Found:
    return (await storage.recipients.find([address]))[address]


async def test_a_group_leads_to_its_members_each_once_through_any_loop(storage: Storage, account: MakeAccount) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org")
    put = storage.distributions.put
    await storage.directory.add_alias("sales@example.org", "bob@example.org")
    await put(
        "group", "all@example.org", ["ann@example.org", "team@example.org", "eve@example.net", "gone@example.org"]
    )
    await put(
        "group", "team@example.org", ["sales@example.org", "all@example.org", "eve@example.net", "ann+x@example.org"]
    )
    await put("list", "news@example.org", ["ann@example.org"], owner="bob@example.org")
    await put("group", "team@example.org", ["news@example.org"])
    found = await one(storage, "All@example.org")
    assert found == Found((ann.id, bob.id), "", ("eve@example.net",), ("news@example.org",), "all@example.org")
    assert (await one(storage, "all+x@example.org")).accounts == (ann.id, bob.id)
    assert await storage.directory.may_send_as(ann.id, "all@example.org")
    assert not await storage.directory.may_send_as(bob.id, "all@example.org")  # by another group alone
    await storage.distributions.remove_members("all@example.org", ["team@example.org", "ann@example.org"])
    assert (await one(storage, "all@example.org")).accounts == ()
    await storage.distributions.remove("group", "all@example.org")
    assert not (await one(storage, "all@example.org")).known


async def test_a_forward_takes_the_place_of_the_mailbox_unless_it_keeps_a_copy(
    storage: Storage, account: MakeAccount
) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org")
    put = storage.distributions.put
    await put("forward", "ann@example.org", ["eve@example.net"])
    await put("forward", "bob@example.org", ["bob@example.org", "ann@example.org", "fay@example.net"])
    await storage.directory.add_alias("sales@example.org", "ann@example.org")
    await storage.directory.add_alias("sales@example.org", "bob@example.org")
    assert (await one(storage, "ann+x@example.org")).accounts == ()
    assert (await one(storage, "ann@example.org")).remote == ("eve@example.net",)
    found = await one(storage, "bob@example.org")
    assert (found.accounts, set(found.remote)) == ((bob.id,), {"eve@example.net", "fay@example.net"})
    both = await one(storage, "sales@example.org")
    assert (both.accounts, set(both.remote)) == ((bob.id,), {"eve@example.net", "fay@example.net"})
    await storage.directory.delete_account("ann@example.org")
    assert not (await one(storage, "ann@example.org")).known
    again = await account("ann@example.org")
    assert (await one(storage, "ann@example.org")).accounts == (again.id,)
    assert (await one(storage, "bob@example.org")).remote == ("fay@example.net",)
    assert ann.id != again.id


async def test_a_list_is_itself_and_its_roles_are_its_owners(storage: Storage, account: MakeAccount) -> None:
    ann = await account("ann@example.org")
    await storage.directory.add_alias("@example.org", "ann@example.org")
    put = storage.distributions.put
    made = await put(
        "list", "News@example.org", ["ann@example.org", "eve@example.net"], owner="ann@example.org", posting="members"
    )
    assert await one(storage, "news@example.org") == Found(
        lists=("news@example.org",), key="news@example.org", posting="members", owner="ann@example.org"
    )
    for role in ("bounces", "owner", "request"):
        assert (await one(storage, f"news-{role}@example.org")).accounts == (ann.id,)
    assert (await one(storage, "news-else@example.org")).accounts == (ann.id,)  # by the catch-all
    members = await storage.recipients.members(made)
    assert (members.accounts, members.remote) == ((ann.id,), ("eve@example.net",))
    for sender, expected in (("Ann+x@example.org", True), ("eve@example.net", True), ("fay@example.net", False)):
        writers = storage.recipients.writers(sender)
        assert await storage.distributions.is_member("news@example.org", writers) is expected
    changed = await put("list", "news@example.org", ["fay@example.net"], owner="eve@example.net", name="The news")
    assert (changed.name, changed.owner, changed.posting, len(changed.members)) == (
        "The news", "eve@example.net", "anyone", 3,
    )  # fmt: skip
    assert await storage.distributions.all("list") == [changed]


async def test_addresses_are_one_thing_only(storage: Storage, account: MakeAccount) -> None:
    await account("ann@example.org")
    await storage.directory.add_alias("info@example.org", "ann@example.org")
    put = storage.distributions.put
    for address in ("ann@example.org", "info@example.org"):
        with pytest.raises(AlreadyExists):
            await put("group", address, [])
    await put("group", "team@example.org", [])
    with pytest.raises(AlreadyExists):
        await storage.directory.add_alias("team@example.org", "ann@example.org")
    with pytest.raises(AlreadyExists):
        await storage.directory.add_account("team@example.org", None)
    with pytest.raises(AlreadyExists):
        await put("list", "team@example.org", [], owner="ann@example.org")
    with pytest.raises(InvalidAddress):
        await put("list", "news@example.org", [])
    with pytest.raises(InvalidAddress):
        await put("group", "team@example.org", ["rubbish"])
    for kind, address in (("group", "x@example.com"), ("forward", "nobody@example.org")):
        with pytest.raises(NotFound):
            await put(kind, address, [])  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await storage.distributions.remove("list", "team@example.org")
    with pytest.raises(NotFound):
        await storage.distributions.remove_members("team@example.org", ["ann@example.org"])


async def test_expansion_ends_at_its_bounds(storage: Storage, account: MakeAccount) -> None:
    ann = await account("ann@example.org")
    put = storage.distributions.put
    await put("group", "g0@example.org", ["ann@example.org"])
    for number in range(1, MAX_DEPTH + 1):
        await put("group", f"g{number}@example.org", [f"g{number - 1}@example.org"])
    assert (await one(storage, f"g{MAX_DEPTH - 2}@example.org")).accounts == (ann.id,)
    with pytest.raises(TooMany):
        await one(storage, f"g{MAX_DEPTH}@example.org")
    with pytest.raises(TooMany):
        await put("group", "wide@example.org", [f"u{number}@example.net" for number in range(1001)])
    assert not (await one(storage, "wide@example.org")).known
    for part in ("a", "b"):
        await put("group", f"{part}@example.org", [f"{part}{number}@example.net" for number in range(600)])
    await put("group", "both@example.org", ["a@example.org", "b@example.org"])
    with pytest.raises(TooMany):
        await one(storage, "both@example.org")
