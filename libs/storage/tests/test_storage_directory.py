"""The directory on the real PostgreSQL: accounts, aliases, recipients, log-ins, identities, removal."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_model.clock import SystemClock
from posthorn_model.cluster import Process
from posthorn_model.errors import (
    AccountNotFound,
    AlreadyExists,
    AuthenticationFailed,
    InvalidAddress,
    NotFound,
    TooMany,
)
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.ids import AccountId, NodeId
from posthorn_model.mail import NewMessage
from posthorn_storage import AccountRecord, Identity, Storage, StorageSettings
from posthorn_storage.directory import recipients
from posthorn_storage.directory.addresses import address_key, domain_key, lookup_keys, splits

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]


class ClockByHand(SystemClock):
    """Its seconds pass when they are told to."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("Ann@Example.ORG", "ann@example.org"),
        ('"ann"@example.org', "ann@example.org"),
        ("ann@bücher.example.", "ann@xn--bcher-kva.example"),
        ("ÄNN@example.org", "änn@example.org"),
    ],
)
def test_addresses_have_one_stored_form(given: str, stored: str) -> None:
    assert address_key(given) == stored


@pytest.mark.parametrize(
    "given",
    ["", "ann", "@example.org", "ann@", "a b@example.org", "ann@exa mple.org", "ann\0@example.org", "x" * 65 + "@a.b",
     "ann@" + "a" * 64 + ".org", "ann@a..b", "ann@" + "a." * 200 + "b", "ann@\udcff.org", "a\udcff@b.org"],
)  # fmt: skip
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(InvalidAddress):
        address_key(given)
    assert lookup_keys(given) == ()


@given(st.text(alphabet="ab+-", min_size=1, max_size=40), st.text(alphabet="+-", max_size=2))
def test_every_way_to_part_user_and_detail_is_known_the_longest_user_first(local: str, delimiters: str) -> None:
    found = splits(local, delimiters)
    assert [len(user) for user, _ in found] == sorted({len(user) for user, _ in found}, reverse=True)
    assert len(found) == min(8, sum(letter in delimiters for letter in local[1:]))
    for user, detail in found:
        assert user
        assert local[len(user)] in delimiters
        assert local == f"{user}{local[len(user)]}{detail}"


def test_the_domain_key_is_stable() -> None:
    assert domain_key(domain_key("BÜCHER.example")) == domain_key("xn--bcher-kva.example")


async def test_an_account_starts_with_its_defaults(storage: Storage, account: MakeAccount) -> None:
    ann = await account("Ann@Example.org", "secret", display_name="Ann", quota=1000)
    assert (ann.address, ann.display_name, ann.quota, ann.kind) == ("ann@example.org", "Ann", 1000, "user")
    rows = await storage._database.fetch("SELECT role FROM mailbox WHERE account_id = $1 ORDER BY sort_order", ann.id)
    assert [row["role"] for row in rows] == ["inbox", "drafts", "sent", "junk", "trash", "archive"]
    kinds = await storage._database.fetch("SELECT kind FROM collection WHERE account_id = $1 ORDER BY kind", ann.id)
    assert [row["kind"] for row in kinds] == ["cal", "card"]
    assert [(i.name, i.email) for i in await storage.directory.identities(ann.id)] == [("Ann", "ann@example.org")]
    assert await storage.directory.find_account("ANN@example.org") == ann
    assert await storage.directory.account(ann.id) == ann


async def test_bad_accounts_are_refused_whole(storage: Storage, account: MakeAccount) -> None:
    await account("ann@example.org")
    directory = storage.directory
    with pytest.raises(AlreadyExists):
        await directory.add_account("ANN@example.org", None)
    with pytest.raises(NotFound):
        await directory.add_account("ann@elsewhere.org", None)
    with pytest.raises(InvalidAddress):
        await directory.add_account("ann", None)
    with pytest.raises(AuthenticationFailed):
        await directory.add_account("empty@example.org", "")
    with pytest.raises(AlreadyExists):
        await directory.add_accounts([("bob@example.org", "a"), ("ann@example.org", "b")])
    with pytest.raises(AlreadyExists):
        await directory.add_accounts([("bob@example.org", "a"), ("BOB@example.org", "b")])
    assert [found.address for found in await directory.list_accounts()] == ["ann@example.org"]
    assert await storage._database.fetchval("SELECT count(*) FROM account_counter") == 1


async def test_one_of_many_equal_accounts_wins(storage: Storage) -> None:
    await storage.directory.add_domain("example.org")
    with pytest.raises(AlreadyExists):
        await storage.directory.add_domain("example.org")
    await storage.directory.add_domain("Example.ORG", idempotent=True)
    results = await asyncio.gather(
        *(storage.directory.add_account("ann@example.org", None) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(result, AccountRecord) for result in results) == 1
    assert sum(isinstance(result, AlreadyExists) for result in results) == 7


async def test_many_accounts_come_in_their_order(storage: Storage) -> None:
    await storage.directory.add_domain("example.org")
    wanted = [(f"user{n}@example.org", f"pw{n}") for n in (3, 1, 2)]
    made = await storage.directory.add_accounts(wanted)
    assert [found.address for found in made] == [address for address, _ in wanted]
    assert (await storage.directory.authenticate("user1@example.org", "pw1")).id == made[1].id
    page = await storage.directory.list_accounts(limit=2)
    rest = await storage.directory.list_accounts(after=page[-1].address)
    assert [found.address for found in (*page, *rest)] == sorted(address for address, _ in wanted)


async def test_recipients_are_found_exactly_then_without_detail_then_by_the_catch_all(
    storage: Storage, account: MakeAccount
) -> None:
    ann, bob, plus = (
        await account("ann@example.org"),
        await account("bob@example.org"),
        await account("a+b@example.org"),
    )
    await storage.directory.add_alias("Sales@example.org", "ann@example.org")
    await storage.directory.add_alias("sales@example.org", "bob@example.org")
    await storage.directory.add_domain("other.org")
    await storage.directory.add_alias("@other.org", "bob@example.org")
    found = await storage.recipients.find(
        ["ANN@example.org", "ann+lists@example.org", "a+b@example.org", "sales+x@example.org", "any@other.org",
         "nobody@example.org", "rubbish", "+x@example.org"]
    )  # fmt: skip
    assert {address: each.accounts for address, each in found.items()} == {
        "ANN@example.org": (ann.id,),
        "ann+lists@example.org": (ann.id,),
        "a+b@example.org": (plus.id,),
        "sales+x@example.org": (ann.id, bob.id),
        "any@other.org": (bob.id,),
        "nobody@example.org": (),
        "rubbish": (),
        "+x@example.org": (),
    }
    assert (await storage.directory.find_account("ann@example.org")).aliases == ("sales@example.org",)


async def test_an_address_is_an_account_or_an_alias(storage: Storage, account: MakeAccount) -> None:
    await account("ann@example.org")
    with pytest.raises(AlreadyExists):
        await storage.directory.add_alias("ann@example.org", "ann@example.org")
    with pytest.raises(NotFound):
        await storage.directory.add_alias("x@elsewhere.org", "ann@example.org")
    await storage.directory.add_alias("info@example.org", "ann@example.org")
    with pytest.raises(AlreadyExists):
        await storage.directory.add_account("info@example.org", None)


async def test_an_alias_is_removed_from_one_account_or_all(storage: Storage, account: MakeAccount) -> None:
    directory = storage.directory
    for name in ("ann", "bob", "eve"):
        await account(f"{name}@example.org")
        await directory.add_alias("info@example.org", f"{name}@example.org")
    assert await directory.list_aliases(limit=2) == [
        ("info@example.org", "ann@example.org"),
        ("info@example.org", "bob@example.org"),
    ]
    assert await directory.list_aliases(("info@example.org", "bob@example.org")) == [
        ("info@example.org", "eve@example.org")
    ]
    assert await directory.remove_alias("Info@example.org", "ann@example.org") == 1
    assert await directory.remove_alias("info@example.org") == 2
    with pytest.raises(NotFound):
        await directory.remove_alias("info@example.org")
    assert not (await storage.recipients.find(["info@example.org"]))["info@example.org"].known


async def test_senders(storage: Storage, account: MakeAccount) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org")
    await storage.directory.add_alias("info@example.org", "ann@example.org")
    may = storage.directory.may_send_as
    assert [await may(ann.id, a) for a in ("ann@example.org", "Ann+x@example.org", "info@example.org")] == [True] * 3
    assert [await may(ann.id, a) for a in ("bob@example.org", "", "ann@example.com")] == [False] * 3
    assert not await may(bob.id, "info@example.org")


async def test_log_ins(storage: Storage, account: MakeAccount) -> None:
    ann = await account("ann@example.org", "right")
    await account("bob@example.org")
    directory = storage.directory
    assert await directory.authenticate("ANN@example.org", "right", "192.0.2.1") == ann
    assert await directory.authenticate("ann@example.org", "right") == ann
    wrong = [("ann@example.org", "wrong"), ("ann@example.org", ""), ("nobody@example.org", "right"), ("rubbish", "x"),
             ("bob@example.org", "right"), ("ann@example.org", "x" * 2000)]  # fmt: skip
    for login, password in wrong:
        with pytest.raises(AuthenticationFailed) as caught:
            await directory.authenticate(login, password)
        assert "right" not in repr(caught.value.fields)
    await directory.set_password("ann@example.org", "new")
    with pytest.raises(AuthenticationFailed):
        await directory.authenticate("ann@example.org", "right")
    assert await directory.authenticate("ann@example.org", "new") == ann
    with pytest.raises(AccountNotFound):
        await directory.set_password("nobody@example.org", "new")


async def test_a_changed_password_ends_remembered_log_ins_of_other_processes_at_once(
    storage: Storage, account: MakeAccount
) -> None:
    await account("ann@example.org", "right")
    directory = storage.directory
    await directory.authenticate("ann@example.org", "right")
    # As another process does it.
    await storage._database.execute("UPDATE credential SET secret = 'gone'")
    with pytest.raises(AuthenticationFailed):
        await directory.authenticate("ann@example.org", "right")


async def test_each_change_of_the_directory_is_counted(storage: Storage) -> None:
    nodes, directory = storage.nodes, storage.directory
    await nodes.claim_node(NodeId(1), "a", 60)
    now = datetime.now(UTC)
    process = Process(NodeId(1), "imap", "boot", "host", "", "ready", {}, 0.0, now, now, True)
    seen = [(await nodes.beat(process, "a", 60)).directory]
    for change in (
        partial(directory.add_domain, "example.org"),
        partial(directory.add_account, "ann@example.org", "first"),
        partial(directory.set_password, "ann@example.org", "second"),
        partial(directory.add_alias, "post@example.org", "ann@example.org"),
        partial(directory.delete_account, "ann@example.org"),
    ):
        await change()
        seen.append((await nodes.beat(process, "a", 60)).directory)
    assert seen == list(range(seen[0], seen[0] + 6))
    assert await directory.add_domain("example.org", idempotent=True)
    assert (await nodes.beat(process, "a", 60)).directory == seen[-1]


async def test_local_domains_are_remembered_until_forget(storage: Storage) -> None:
    assert not await storage.directory.is_local_domain("example.org")
    await storage._database.execute("INSERT INTO domain (name) VALUES ('example.org'), ('xn--bcher-kva.example')")
    assert not await storage.directory.is_local_domain("example.org")
    storage.directory.forget()
    assert await storage.directory.is_local_domain("Example.org.")
    assert await storage.directory.is_local_domain("bücher.example")
    assert not await storage.directory.is_local_domain("..ü")
    assert await storage.directory.domains() == ["example.org", "xn--bcher-kva.example"]


async def test_identities_count_as_changes(storage: Storage, account: MakeAccount) -> None:
    ann = await account("ann@example.org")
    heard: list[Changed] = []
    storage.on_change = heard.append
    directory = storage.directory
    made = await directory.put_identity(
        ann.id, Identity(0, "Ann", "info@example.org", reply_to=({"name": None, "email": "x@example.org"},))
    )
    await directory.put_identity(ann.id, replace(made, name="Sales", text_signature="-- \nAnn"))
    assert (await directory.identities(ann.id))[-1] == replace(made, name="Sales", text_signature="-- \nAnn")
    await directory.delete_identity(ann.id, made.id)
    assert [event.kinds for event in heard] == [frozenset({ChangeKind.IDENTITY})] * 3
    assert [event.modseq for event in heard] == list(range(heard[0].modseq, heard[0].modseq + 3))
    with pytest.raises(NotFound):
        await directory.delete_identity(ann.id, made.id)
    with pytest.raises(NotFound):
        await directory.put_identity(ann.id, made)
    with pytest.raises(InvalidAddress):
        await directory.put_identity(ann.id, Identity(0, "", "rubbish"))
    with pytest.raises(AccountNotFound):
        await directory.put_identity(AccountId(ann.id + 1000), Identity(0, "", "x@example.org"))
    with pytest.raises(TooMany):
        for number in range(200):
            await directory.put_identity(ann.id, Identity(0, str(number), "x@example.org"))
    assert len(heard) == 3 + 99


async def test_a_removed_account_leaves_no_row(storage: Storage, account: MakeAccount) -> None:
    ann = await account("ann@example.org", "right")
    await storage.directory.add_alias("info@example.org", "ann@example.org")
    await storage.directory.authenticate("ann@example.org", "right")
    await storage.directory.delete_account("ann@example.org")
    tables = "account alias credential identity account_counter mailbox collection change_log removed_account"
    for table in tables.split():
        assert await storage._database.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    with pytest.raises(AuthenticationFailed):
        await storage.directory.authenticate("ann@example.org", "right")
    with pytest.raises(AccountNotFound):
        await storage.directory.delete_account("ann@example.org")
    again = await account("ann@example.org")
    assert again.id != ann.id


async def test_a_reset_keeps_counting(storage: Storage, account: MakeAccount) -> None:
    ann = await account("ann@example.org")
    boxes = "SELECT id, uidvalidity FROM mailbox WHERE account_id = $1"
    before = {row["id"]: row["uidvalidity"] for row in await storage._database.fetch(boxes, ann.id)}
    heard: list[Changed] = []
    storage.on_change = heard.append
    await storage.directory.reset_account("ann@example.org")
    after = {row["id"]: row["uidvalidity"] for row in await storage._database.fetch(boxes, ann.id)}
    assert len(after) == 6
    assert not before.keys() & after.keys()
    assert min(after.values()) > max(before.values())
    counter = await storage._database.fetchrow(
        "SELECT modseq, horizon FROM account_counter WHERE account_id = $1", ann.id
    )
    assert counter is not None
    assert counter["modseq"] == heard[0].modseq > 1
    assert ChangeKind.EMAIL in heard[0].kinds


async def test_who_was_found_is_remembered_until_the_directory_changes(
    storage: Storage, storage_settings: StorageSettings, account: MakeAccount
) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org")
    await storage.directory.add_alias("info@example.org", "ann@example.org")
    clock = ClockByHand()
    other = await Storage.open(storage_settings, clock)

    async def found(storage: Storage, address: str = "info@example.org") -> tuple[AccountId, ...]:
        return (await storage.recipients.find([address]))[address].accounts

    async def give(to: str) -> None:
        await storage.directory.remove_alias("info@example.org")
        await storage.directory.add_alias("info@example.org", to)

    try:
        assert await found(storage) == await found(other) == (ann.id,)
        await give("bob@example.org")
        assert await found(storage) == (bob.id,)  # who changes it knows at once
        assert await found(other) == (ann.id,)
        other.directory.look_again()  # the notice of the change
        assert await found(other) == (bob.id,)
        await give("ann@example.org")
        assert await found(other) == (bob.id,)
        clock.seconds += recipients.SECONDS  # where no notice came
        assert await found(other) == (ann.id,)
        assert await found(other, "carl@example.org") == ()  # that nobody was found is never remembered
        carl = await account("carl@example.org")
        assert await found(other, "carl@example.org") == (carl.id,)
    finally:
        await other.close()


async def test_room_is_told_anew_where_there_is_little(
    storage: Storage, account: MakeAccount, new_message: Callable[..., NewMessage]
) -> None:
    small, large = await account("small@example.org", quota=100_000), await account("large@example.org", quota=2**40)

    async def used() -> list[int]:
        found = await storage.recipients.find(["small@example.org", "large@example.org"])
        return [used for each in found.values() for used, _ in each.rooms.values()]

    assert await used() == [0, 0]
    await storage.mail.deliver([new_message(each.id, subject="x") for each in (small, large)])
    first, second = await used()
    assert first > 0
    assert second == 0  # of terabytes nobody need know so soon


async def test_questions_that_come_at_once_get_each_their_own_answer(storage: Storage, account: MakeAccount) -> None:
    people = [await account(f"p{number}@example.org", quota=1000 + number) for number in range(10)]
    await storage.directory.add_alias("all@example.org", "p0@example.org")
    asked = [f"p{number}@example.org" for number in range(12)] + ["all@example.org", "p1+x@example.org"]
    found = await asyncio.gather(*(storage.recipients.find([address]) for address in asked for _ in range(5)))
    for number, answer in enumerate(found):
        assert list(answer) == [asked[number // 5]]
    owners = [answer[address].accounts for answer, address in zip(found[::5], asked, strict=True)]
    assert owners == [*((each.id,) for each in people), (), (), (people[0].id,), (people[1].id,)]
    rooms = await asyncio.gather(*(storage.recipients.room(each.id) for each in people * 3))
    assert rooms == [(0, 1000 + number) for number in range(10)] * 3
    assert await storage.recipients.room(AccountId(999_999)) == (0, None)
    # What an address leads to at once comes with its room: nobody need ask for it.
    known = [dict(answer[address].rooms) for answer, address in zip(found[::5], asked, strict=True)]
    mine = [{each.id: (0, 1000 + number)} for number, each in enumerate(people)]
    assert known == [*mine, {}, {}, mine[0], mine[1]]
