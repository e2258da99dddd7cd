"""Calendars, address books and files on the real PostgreSQL: conditions, conflicts, sync, quota, order of changes."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from posthorn_model.errors import (
    AlreadyExists,
    CannotCalculateChanges,
    CollectionNotFound,
    InvalidName,
    NotFound,
    OverQuota,
    StateMismatch,
    TooLarge,
)
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.groupware import Collection, CollectionKind, Item
from posthorn_model.ids import AccountId, CollectionId, Modseq
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.groupware import GroupwareStore, NewItem
from posthorn_storage.groupware.store import MAX_CONTENT
from posthorn_storage.mail_store import MailStore

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
Check = Callable[[], Awaitable[None]]
CAL, CARD = CollectionKind.CALENDAR, CollectionKind.ADDRESS_BOOK


@pytest.fixture
def groupware(storage: Storage) -> GroupwareStore:
    return storage.groupware


@pytest.fixture
async def ann(account: MakeAccount) -> AccountId:
    return (await account()).id


@pytest.fixture
async def calendar(groupware: GroupwareStore, ann: AccountId) -> Collection:
    return await groupware.collection(ann, CAL, "default")


def event(name: str, text: str = "BEGIN", **more: object) -> NewItem:
    return replace(NewItem(name, name, "text/calendar", text.encode(), "VEVENT"), **more)


def names(items: list[Item]) -> list[str]:
    return [item.name for item in items]


async def test_collections_are_made_changed_and_deleted(
    groupware: GroupwareStore, mail: MailStore, ann: AccountId, heard: list[Changed], check_sums: Check
) -> None:
    start = await mail.state(ann)
    work = await groupware.create_collection(
        ann, CAL, "work", "Work \0", description="d", color="#ff0000", properties={"{x}y": "<a/>"}
    )
    assert (work.display_name, work.color, work.properties) == ("Work ", "#ff0000", {"{x}y": "<a/>"})
    assert heard[-1] == Changed(ann, work.modseq, frozenset({ChangeKind.CALENDAR}))
    with pytest.raises(AlreadyExists):
        await groupware.create_collection(ann, CAL, "work")
    book = await groupware.create_collection(ann, CARD, "work")
    with pytest.raises(AlreadyExists):
        await groupware.update_collection(ann, book.id, name="default")
    after = await groupware.update_collection(ann, work.id, display_name="Office", properties={})
    assert (after.display_name, after.description, after.properties) == ("Office", "d", {})
    assert after.modseq > work.modseq
    assert await groupware.collection(ann, CAL, "work") == after
    assert [one.name for one in await groupware.collections(ann, CAL)] == ["default", "work"]
    assert len(await groupware.collections(ann)) == 4
    await groupware.put_item(ann, work.id, event("a.ics"))
    await groupware.delete_collection(ann, work.id)
    for gone in (
        groupware.collection(ann, CAL, "work"),
        groupware.delete_collection(ann, work.id),
        groupware.update_collection(ann, work.id, display_name="x"),
        groupware.put_item(ann, work.id, event("a.ics")),
        groupware.removed(ann, work.id, start),
    ):
        with pytest.raises(CollectionNotFound):
            await gone
    assert (await mail.changes(ann, ChangeKind.CALENDAR, start)).created == []
    assert (await mail.changes(ann, ChangeKind.ADDRESS_BOOK, start)).created == [book.id]
    assert (await mail.changes(ann, ChangeKind.CALENDAR, work.modseq)).destroyed == [work.id]
    assert (await mail.quota(ann))[:2] == (0, 0)
    await check_sums()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", "x" * 256, "ä" * 200])
async def test_names_that_cannot_be_path_segments(groupware: GroupwareStore, ann: AccountId, name: str) -> None:
    with pytest.raises(InvalidName):
        await groupware.create_collection(ann, CAL, name)
    with pytest.raises(InvalidName):
        await groupware.put_item(ann, CollectionId(1), event(name))


async def test_items_obey_their_conditions(groupware: GroupwareStore, ann: AccountId, calendar: Collection) -> None:
    with pytest.raises(StateMismatch):
        await groupware.put_item(ann, calendar.id, event("a.ics"), if_match="nothing")
    first = await groupware.put_item(ann, calendar.id, event("a.ics", "1"), if_none_match=True)
    with pytest.raises(StateMismatch):
        await groupware.put_item(ann, calendar.id, event("a.ics", "2"), if_none_match=True)
    second = await groupware.put_item(ann, calendar.id, event("a.ics", "2"), if_match=first.etag)
    assert (second.content, second.etag != first.etag, second.modseq > first.modseq) == (b"2", True, True)
    with pytest.raises(StateMismatch):
        await groupware.put_item(ann, calendar.id, event("a.ics", "3"), if_match=first.etag)
    assert await groupware.put_item(ann, calendar.id, event("a.ics", "2")) == second  # nothing changed
    with pytest.raises(StateMismatch):
        await groupware.delete_item(ann, calendar.id, "a.ics", first.etag)
    await groupware.delete_item(ann, calendar.id, "a.ics", second.etag)
    with pytest.raises(NotFound):
        await groupware.delete_item(ann, calendar.id, "a.ics")


async def test_one_of_many_creators_wins(
    groupware: GroupwareStore, ann: AccountId, calendar: Collection, check_sums: Check
) -> None:
    calls = [
        groupware.put_item(ann, calendar.id, event("a.ics", f"{number}"), if_none_match=True) for number in range(8)
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Item"] + ["StateMismatch"] * 7
    await check_sums()


async def test_a_uid_is_unique_in_its_collection(
    groupware: GroupwareStore, ann: AccountId, calendar: Collection
) -> None:
    other = await groupware.create_collection(ann, CAL, "other")
    await groupware.put_item(ann, calendar.id, event("a.ics", uid="u"))
    with pytest.raises(AlreadyExists):
        await groupware.put_item(ann, calendar.id, event("b.ics", uid="u"))
    await groupware.put_item(ann, other.id, event("b.ics", uid="u"))
    with pytest.raises(AlreadyExists):
        await groupware.move_item(ann, other.id, "b.ics", calendar.id, "c.ics")
    files = await groupware.create_collection(ann, CollectionKind.FILES, "files")
    for name in ("a", "b"):
        await groupware.put_item(ann, files.id, NewItem(name, "", "text/plain", b""))
    assert names(await groupware.items(ann, files.id)) == ["a", "b"]


async def test_filters(groupware: GroupwareStore, ann: AccountId, calendar: Collection) -> None:
    def day(number: int) -> datetime:
        return datetime(2026, 5, number, tzinfo=UTC)

    await groupware.put_item(ann, calendar.id, event("a", starts_at=day(1), ends_at=day(2)))
    await groupware.put_item(ann, calendar.id, event("b", starts_at=day(5)))
    middle = await groupware.put_item(ann, calendar.id, event("c", component="VTODO"))
    await groupware.put_item(ann, calendar.id, event("d", starts_at=day(8), ends_at=day(9)))

    async def found(**filters: object) -> list[str]:
        return names(await groupware.items(ann, calendar.id, **filters))

    assert await found() == ["a", "b", "c", "d"]
    assert await found(names=["d", "a", "x"]) == ["a", "d"]
    assert await found(names=[]) == []
    assert await found(since=middle.modseq) == ["d"]
    assert await found(component="VTODO") == ["c"]
    assert await found(time_range=(day(3), day(7))) == ["b", "c"]
    assert await found(time_range=(None, day(5))) == ["a", "c"]
    assert await found(time_range=(day(3), None)) == ["b", "c", "d"]
    assert await found(limit=2) == ["a", "b"]
    (bare,) = await groupware.items(ann, calendar.id, names=["c"], with_content=False)
    assert bare == replace(middle, content=b"")


async def test_sync_tells_what_went(
    storage: Storage, groupware: GroupwareStore, ann: AccountId, calendar: Collection, mail: MailStore
) -> None:
    for name in ("a", "b", "c"):
        await groupware.put_item(ann, calendar.id, event(name))
    token = (await groupware.collection(ann, CAL, "default")).modseq
    other = await groupware.create_collection(ann, CAL, "other")
    await groupware.delete_item(ann, calendar.id, "a")
    await groupware.delete_item(ann, calendar.id, "b")
    await groupware.put_item(ann, calendar.id, event("b", "again"))
    moved = await groupware.move_item(ann, calendar.id, "c", other.id, "C")
    assert await groupware.removed(ann, calendar.id, token) == ["a", "c"]
    assert names(await groupware.items(ann, calendar.id, since=token)) == ["b"]
    assert await groupware.removed(ann, other.id, token) == []
    assert names(await groupware.items(ann, other.id, since=token)) == ["C"]
    changes = await mail.changes(ann, ChangeKind.CALENDAR_EVENT, token)
    assert (len(changes.created), len(changes.updated), len(changes.destroyed)) == (1, 1, 2)
    now = (await groupware.collection(ann, CAL, "default")).modseq
    assert now >= moved.modseq > token
    assert await groupware.removed(ann, calendar.id, now) == []
    with pytest.raises(CannotCalculateChanges):
        await groupware.removed(ann, calendar.id, Modseq(now + 1000))
    await storage._database.execute("UPDATE account_counter SET horizon = modseq WHERE account_id = $1", ann)
    with pytest.raises(CannotCalculateChanges):
        await groupware.removed(ann, calendar.id, token)
    await groupware.create_collection(ann, CAL, "later")
    assert await groupware.removed(ann, calendar.id, now) == []  # quiet since then


async def test_items_are_copied_and_moved(
    groupware: GroupwareStore, ann: AccountId, calendar: Collection, check_sums: Check
) -> None:
    other = await groupware.create_collection(ann, CAL, "other")
    book = await groupware.collection(ann, CARD, "default")
    await groupware.put_item(ann, calendar.id, event("a", "one"))
    copied = await groupware.copy_item(ann, calendar.id, "a", other.id, "a")
    assert copied.content == b"one"
    await groupware.put_item(ann, calendar.id, event("b", "two"))
    with pytest.raises(AlreadyExists):
        await groupware.copy_item(ann, calendar.id, "b", other.id, "a")
    await groupware.copy_item(ann, calendar.id, "b", other.id, "a", overwrite=True)
    await groupware.move_item(ann, calendar.id, "a", calendar.id, "z")
    with pytest.raises(AlreadyExists):
        await groupware.move_item(ann, calendar.id, "z", calendar.id, "z", overwrite=True)
    with pytest.raises(NotFound):
        await groupware.move_item(ann, calendar.id, "nothing", other.id, "x")
    with pytest.raises(InvalidName):
        await groupware.move_item(ann, calendar.id, "z", book.id, "z")
    assert names(await groupware.items(ann, calendar.id)) == ["b", "z"]
    assert [(item.name, item.content) for item in await groupware.items(ann, other.id)] == [("a", b"two")]
    await check_sums()


async def test_items_count_in_the_quota(
    groupware: GroupwareStore, account: MakeAccount, mail: MailStore, check_sums: Check
) -> None:
    bob = (await account("bob@example.org", quota=10)).id
    calendar = await groupware.collection(bob, CAL, "default")
    await groupware.put_item(bob, calendar.id, event("a", "12345678"))
    with pytest.raises(OverQuota):
        await groupware.put_item(bob, calendar.id, event("b", "123"))
    with pytest.raises(OverQuota):
        await groupware.copy_item(bob, calendar.id, "a", calendar.id, "c")
    await groupware.put_item(bob, calendar.id, event("a", "1234567890"))
    with pytest.raises(TooLarge):
        await groupware.put_item(bob, calendar.id, event("b", "x" * (MAX_CONTENT + 1)))
    assert await mail.quota(bob) == (10, 0, 10)
    await groupware.delete_item(bob, calendar.id, "a")
    assert await mail.quota(bob) == (0, 0, 10)
    await check_sums()


async def test_a_reader_that_follows_modseqs_misses_nothing(
    groupware: GroupwareStore, ann: AccountId, calendar: Collection, check_sums: Check
) -> None:
    """Writers race; a reader syncs by token meanwhile, and in the end knows exactly what is there."""
    done = asyncio.Event()
    known: dict[str, str] = {}

    async def write(seed: int) -> None:
        rng = random.Random(seed)
        for turn in range(25):
            name = f"{rng.randrange(6)}.ics"
            if rng.random() < 0.65:
                await groupware.put_item(ann, calendar.id, event(name, f"{seed} {turn}"))
            else:
                await asyncio.gather(groupware.delete_item(ann, calendar.id, name), return_exceptions=True)

    async def sync(token: Modseq) -> Modseq:
        now = (await groupware.collection(ann, CAL, "default")).modseq
        removed = await groupware.removed(ann, calendar.id, token)
        items = await groupware.items(ann, calendar.id, since=token)
        for name in removed:
            known.pop(name, None)
        known.update((item.name, item.etag) for item in items)
        return now

    async def read() -> None:
        token = calendar.modseq
        while not done.is_set():
            token = await sync(token)
        await sync(token)

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(seed) for seed in range(4)))
    done.set()
    await reader
    assert known == {item.name: item.etag for item in await groupware.items(ann, calendar.id)}
    await check_sums()
