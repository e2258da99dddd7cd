"""Scripts of accounts: kept by name, one active at most, bounded in number and size."""

from collections.abc import Awaitable, Callable

import pytest

from posthorn_model.errors import (
    AccountNotFound,
    AlreadyExists,
    InvalidContent,
    InvalidName,
    NotFound,
    NotPermitted,
    TooLarge,
    TooMany,
)
from posthorn_model.ids import AccountId
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.sieve_scripts import MAX_SCRIPTS, MAX_SIZE, ActiveScript, ScriptEntry

NewAccount = Callable[..., Awaitable[AccountRecord]]

pytestmark = pytest.mark.postgres


async def test_a_script_from_upload_to_removal(storage: Storage, account: NewAccount) -> None:
    ann, bob = (await account()).id, (await account("bob@example.org")).id
    sieve = storage.sieve
    await sieve.put(ann, "büro", "keep; # é")
    await sieve.put(ann, "away", "discard;")
    await sieve.put(bob, "away", "stop;")
    assert await sieve.all(ann) == [ScriptEntry("away", False, 8), ScriptEntry("büro", False, 10)]
    assert await sieve.active([ann, bob]) == {}
    await sieve.activate(ann, "away")
    assert await sieve.active([ann, bob]) == {ann: ActiveScript("away", "discard;")}
    await sieve.put(ann, "away", "keep;")
    assert await sieve.active([ann]) == {ann: ActiveScript("away", "keep;")}
    await sieve.activate(ann, "büro")
    assert [entry.active for entry in await sieve.all(ann)] == [False, True]
    await sieve.rename(ann, "büro", "desk")
    assert await sieve.active([ann]) == {ann: ActiveScript("desk", "keep; # é")}
    with pytest.raises(NotPermitted):
        await sieve.delete(ann, "desk")
    await sieve.activate(ann, None)
    assert await sieve.active([ann]) == {}
    await sieve.delete(ann, "desk")
    await sieve.delete(ann, "away")
    assert await sieve.all(ann) == []
    assert await sieve.content(bob, "away") == "stop;"


async def test_what_is_refused_changes_nothing(storage: Storage, account: NewAccount) -> None:
    ann, sieve = (await account()).id, storage.sieve
    await sieve.put(ann, "a", "keep;")
    await sieve.put(ann, "b", "stop;")
    await sieve.activate(ann, "a")
    with pytest.raises(NotFound):
        await sieve.activate(ann, "none")
    with pytest.raises(NotFound):
        await sieve.content(ann, "none")
    with pytest.raises(NotFound):
        await sieve.delete(ann, "none")
    with pytest.raises(NotFound):
        await sieve.rename(ann, "none", "c")
    with pytest.raises(AlreadyExists):
        await sieve.rename(ann, "a", "b")
    for name in ("", "x" * 129, "a\nb", "a/b"):
        with pytest.raises(InvalidName):
            await sieve.put(ann, name, "keep;")
    with pytest.raises(InvalidContent):
        await sieve.put(ann, "c", "a\0b")
    with pytest.raises(TooLarge):
        await sieve.put(ann, "c", "#" * (MAX_SIZE + 1))
    with pytest.raises(AccountNotFound):
        await sieve.put(AccountId(1 << 40), "c", "keep;")
    assert await sieve.all(ann) == [ScriptEntry("a", True, 5), ScriptEntry("b", False, 5)]


async def test_scripts_are_counted(storage: Storage, account: NewAccount) -> None:
    ann, sieve = (await account()).id, storage.sieve
    for number in range(MAX_SCRIPTS):
        await sieve.put(ann, f"s{number}", "keep;")
    with pytest.raises(TooMany):
        await sieve.put(ann, "one more", "keep;")
    with pytest.raises(TooMany):
        await sieve.check_room(ann, "one more", 1)
    await sieve.put(ann, "s0", "stop;")
    await sieve.check_room(ann, "s0", 1)


async def test_another_process_sees_a_change_within_seconds(storage: Storage, account: NewAccount) -> None:
    ann = (await account()).id
    assert await storage.sieve.active([ann]) == {}
    await storage.sieve.put(ann, "a", "keep;")
    await storage.sieve.activate(ann, "a")
    database = storage.shards.home.database
    assert await storage.sieve.active([ann]) == {ann: ActiveScript("a", "keep;")}
    await database.execute("UPDATE sieve_script SET content = 'stop;' WHERE account_id = $1", ann)
    assert await storage.sieve.active([ann]) == {ann: ActiveScript("a", "keep;")}
    storage.sieve.forget()
    assert await storage.sieve.active([ann]) == {ann: ActiveScript("a", "stop;")}
