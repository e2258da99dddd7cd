"""What a move compares: a difference in any table is found before the switch, however old the row, and no purge is one.

Each test does something between two steps of a move: to the copy, as a fault would, or to the original, as others do.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from posthorn_model.errors import CannotCalculateChanges, Unavailable
from posthorn_model.flags import SystemFlag
from posthorn_model.groupware import CollectionKind
from posthorn_model.ids import AccountId
from posthorn_model.mail import NewMessage, Role
from posthorn_storage import Storage
from posthorn_storage.check import Check
from posthorn_storage.groupware import NewItem
from posthorn_storage.shards.moving import Moves, copying
from posthorn_storage.shards.moving.contents import COMPARED, LOGGED, OWNED, REFERENCES, SEEN, WHOLE
from posthorn_storage.shards.moving.copying import Copy

MakeMessage = Callable[..., NewMessage]
CheckShards = Callable[[Storage], Awaitable[None]]
Then = Callable[[], Awaitable[Any]]

OF = "(SELECT {which}(id) FROM message WHERE account_id = $1)"
ROW_DAMAGE: Final = {
    "message": f"UPDATE message SET size = size + 1 WHERE id = {OF}",
    "message_text": f"DELETE FROM message_text WHERE message_id = {OF}",
    "mailbox_message": f"UPDATE mailbox_message SET flags = flags # 1 WHERE message_id = {OF}",
    "blob_ref": f"DELETE FROM blob_ref WHERE kind = 1 AND ref_id = {OF}",
    "thread_key": "DELETE FROM thread_key WHERE thread_id = (SELECT {which}(thread_id) FROM thread_key) AND $1 > 0",
    "item": "UPDATE item SET etag = 'another' WHERE account_id = $1 AND '{which}' <> ''",
    "change_log": "DELETE FROM change_log WHERE modseq = (SELECT {which}(modseq) FROM change_log) AND account_id = $1",
}
"""By table: what falsifies the oldest or the newest row of it."""
TABLE_DAMAGE: Final = {
    "mailbox": "UPDATE mailbox SET sort_order = 99 WHERE account_id = $1",
    "mailbox_metadata": "INSERT INTO mailbox_metadata VALUES ($1, 1, 0, '/shared/comment', 'x')",
    "mailbox_right": "INSERT INTO mailbox_right VALUES ($1, 1, 0, false, 1)",
    "shared_subscription": "INSERT INTO shared_subscription VALUES ($1, 1, 1)",
    "url_key": "INSERT INTO url_key VALUES ($1, 1, 1, 'x')",
    "collection": "UPDATE collection SET color = 'pink' WHERE account_id = $1",
    "identity": "INSERT INTO identity (account_id, email) VALUES ($1, 'x')",
    "email_submission": "INSERT INTO email_submission (account_id, identity_id, message_id, thread_id, envelope,"
    " delivered) VALUES ($1, 1, 1, 1, '', '{}')",
    "blob_ref": "UPDATE blob_ref SET ref_id = 7 WHERE account_id = $1 AND kind = 3",
    "sieve_script": "INSERT INTO sieve_script (account_id, name, content) VALUES ($1, 'x', 'keep;')",
    "push_subscription": "INSERT INTO push_subscription (account_id, device_client_id, url, code, expires_at,"
    " pushed_modseq) VALUES ($1, 'x', 'https://push.example.net/1', 'x', now() + interval '1 day', 0)",
}
"""By table: what falsifies some row that is copied as a whole."""
STRAYS: Final = {
    "message_text": """INSERT INTO message_text VALUES ($1, 77, '', '', '', '', '', '', '')""",
    "thread_key": r"INSERT INTO thread_key VALUES ($1, '\x00', 77)",
}

DELIVERIES = "SELECT key, message_id, at FROM delivery_seen WHERE account_id = $1 ORDER BY key"
FORGET = "DELETE FROM delivery_seen WHERE key IN (SELECT key FROM delivery_seen WHERE {} ORDER BY key LIMIT 3)"


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`then(owner, step, action)`: the action follows each time the step has been done; or comes `before` it."""

    def put(owner: type, step: str, action: Then, *, before: bool = False) -> None:
        real = getattr(owner, step)

        async def both(*arguments: Any) -> Any:
            if before:
                await action()
            result = await real(*arguments)
            if not before:
                await action()
            return result

        monkeypatch.setattr(owner, step, both)

    return put


async def change(storage: Storage, ann: AccountId, new_message: MakeMessage) -> None:
    """Something new in every table whose changes the log names."""
    await storage.mail.append([new_message(ann, subject="new", message_id="<new@x>", text="new")])
    calendar = (await storage.groupware.collections(ann, CollectionKind.CALENDAR))[0]
    await storage.groupware.put_item(ann, calendar.id, NewItem("a.ics", "a", "text/calendar", b"BEGIN:VCALENDAR 2"))


async def refused(storage: Storage, ann: AccountId, table: str) -> None:
    """The move finds the difference, and the account is where it was, open."""
    with pytest.raises(Unavailable, match="not like the original") as caught:
        await storage.moves.move(ann, "west")
    assert caught.value.fields["tables"] == [table]
    storage.shards.placements.forget()
    assert (await storage.shards.of(ann)).name == "east"
    assert await storage.moves.all() == []


def test_the_damage_of_every_table_is_looked_for() -> None:
    assert {*ROW_DAMAGE, SEEN} == {*OWNED, LOGGED}
    assert set(TABLE_DAMAGE) == {*WHOLE, REFERENCES}
    assert {*ROW_DAMAGE, *TABLE_DAMAGE, SEEN} == set(COMPARED)


@pytest.mark.parametrize("table", ROW_DAMAGE)
async def test_a_difference_in_an_old_row_is_found_before_the_freeze(
    sharded: Storage, full_ann: AccountId, then: Callable[..., None], table: str
) -> None:
    west = sharded.shards.named("west").database
    steps: list[str] = []
    then(Copy, "all", lambda: west.execute(ROW_DAMAGE[table].format(which="min"), full_ann))
    then(Moves, "_freeze", lambda: _note(steps))
    await refused(sharded, full_ann, table)
    assert steps == []


@pytest.mark.parametrize("table", STRAYS)
async def test_a_row_that_the_original_has_not_is_found(
    sharded: Storage, full_ann: AccountId, then: Callable[..., None], table: str
) -> None:
    west = sharded.shards.named("west").database
    then(Copy, "all", lambda: west.execute(STRAYS[table], full_ann))
    await refused(sharded, full_ann, table)


@pytest.mark.parametrize("table", ROW_DAMAGE)
async def test_a_difference_in_a_row_that_changed_last_is_found_while_frozen(
    sharded: Storage, full_ann: AccountId, new_message: MakeMessage, then: Callable[..., None], table: str
) -> None:
    west = sharded.shards.named("west").database
    then(Moves, "_freeze", lambda: change(sharded, full_ann, new_message), before=True)
    then(Copy, "rest", lambda: west.execute(ROW_DAMAGE[table].format(which="max"), full_ann))
    await refused(sharded, full_ann, table)


@pytest.mark.parametrize("table", ROW_DAMAGE)
async def test_a_difference_in_a_row_that_changed_while_it_was_copied_is_found(
    sharded: Storage, full_ann: AccountId, new_message: MakeMessage, then: Callable[..., None], table: str
) -> None:
    """It is left out when everything is compared, for it may change again; it is compared when it was copied again."""
    west = sharded.shards.named("west").database
    rounds: list[str] = []

    async def second() -> None:
        await _note(rounds)
        if len(rounds) == 1:
            await change(sharded, full_ann, new_message)
        elif len(rounds) == 2:
            assert await west.execute(ROW_DAMAGE[table].format(which="max"), full_ann)

    then(Copy, "changes", second)
    await refused(sharded, full_ann, table)
    assert len(rounds) == 2


@pytest.mark.parametrize("table", TABLE_DAMAGE)
async def test_a_difference_in_what_no_log_tells_of_is_found_while_frozen(
    sharded: Storage, full_ann: AccountId, then: Callable[..., None], table: str
) -> None:
    west = sharded.shards.named("west").database
    then(Copy, "rest", lambda: west.execute(TABLE_DAMAGE[table], full_ann))
    await refused(sharded, full_ann, table)


async def test_deliveries_that_differ_are_copied_again(
    sharded: Storage, full_ann: AccountId, then: Callable[..., None], check_shards: CheckShards
) -> None:
    """Ids and digests, those missing, those too many and those that stand for another message."""
    east, west = (sharded.shards.named(name).database for name in ("east", "west"))

    async def damage() -> None:
        await west.execute(FORGET.format("get_byte(key, 0) = 105"))
        await west.execute("UPDATE delivery_seen SET message_id = 7 WHERE message_id = (SELECT max(id) FROM message)")
        await west.execute(r"INSERT INTO delivery_seen VALUES ($1, '\x6900', 7), ($1, '\x6400', 7)", full_ann)

    then(Copy, "all", damage)
    then(Copy, "rest", lambda: west.execute(FORGET.format("get_byte(key, 0) = 100")))
    then(Copy, "rest", lambda: east.execute(FORGET.format("get_byte(key, 0) = 100")))
    await sharded.moves.move(full_ann, "west")
    assert await west.fetch(DELIVERIES, full_ann) == await east.fetch(DELIVERIES, full_ann)
    await check_shards(sharded)


async def test_a_purge_at_the_source_is_no_difference(
    sharded: Storage,
    full_ann: AccountId,
    new_message: MakeMessage,
    then: Callable[..., None],
    check_shards: CheckShards,
) -> None:
    """Deliveries of long ago, the oldest changes, uploads whose time has ended: they go while the account is moved."""
    east, west = (sharded.shards.named(name).database for name in ("east", "west"))
    modseq = await east.fetchval("SELECT modseq FROM account_counter WHERE account_id = $1", full_ann)

    async def purge() -> None:
        await east.execute(FORGET.format("get_byte(key, 0) = 105"))
        await east.execute(
            "UPDATE account_counter SET horizon = least($2, horizon + 10) WHERE account_id = $1", full_ann, modseq
        )
        await east.execute("DELETE FROM change_log l USING account_counter c WHERE l.modseq <= c.horizon")
        await east.execute("DELETE FROM blob_ref WHERE kind = 3 AND expires_at < now() + interval '1 minute'")

    async def uploads_end() -> None:
        await east.execute("UPDATE blob_ref SET expires_at = now() + interval '1 second' WHERE kind = 3")

    then(Copy, "all", purge)
    then(Copy, "changes", purge)
    then(Moves, "_freeze", uploads_end, before=True)
    then(Moves, "_freeze", lambda: change(sharded, full_ann, new_message), before=True)
    then(Copy, "rest", purge)
    await sharded.moves.move(full_ann, "west")
    assert (await sharded.shards.of(full_ann)).name == "west"
    newer = "SELECT kind, modseq, object_id, op FROM change_log WHERE modseq > $1 ORDER BY kind, modseq, object_id"
    horizon = await east.fetchval("SELECT horizon FROM account_counter")
    assert 0 < await west.fetchval("SELECT horizon FROM account_counter") < horizon <= modseq
    assert await west.fetch(newer, horizon) == await east.fetch(newer, horizon) != []
    await check_shards(sharded)


async def test_a_log_that_was_cut_before_all_was_compared_ends_the_move(
    sharded: Storage, full_ann: AccountId, new_message: MakeMessage, then: Callable[..., None]
) -> None:
    east = sharded.shards.named("east").database

    async def cut() -> None:
        await sharded.mail.append([new_message(full_ann)])
        await east.execute("UPDATE account_counter SET horizon = modseq")

    then(Copy, "changes", cut)
    with pytest.raises(CannotCalculateChanges):
        await sharded.moves.move(full_ann, "west")


async def test_a_repair_meanwhile_ends_the_move(
    sharded: Storage, full_ann: AccountId, then: Callable[..., None], check_shards: CheckShards
) -> None:
    """No log tells of all that repairs change."""
    east = sharded.shards.named("east")
    await east.database.execute("DELETE FROM message_text WHERE message_id = (SELECT min(id) FROM message)")
    checker = Check(east.database, east.blobs.stores, home=False)
    then(Moves, "_freeze", lambda: checker.repair(full_ann), before=True)
    with pytest.raises(Unavailable, match="was repaired"):
        await sharded.moves.move(full_ann, "west")
    await sharded.moves.move(full_ann, "west")
    await check_shards(sharded)


async def test_threads_that_are_merged_while_their_messages_are_copied(
    sharded: Storage,
    full_ann: AccountId,
    new_message: MakeMessage,
    then: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    check_shards: CheckShards,
) -> None:
    """Their messages get new ids, under which entries and deliveries come that the copy has under the old ones."""
    east, west = (sharded.shards.named(name).database for name in ("east", "west"))
    inbox = next(box.id for box in await sharded.mail.mailboxes(full_ann) if box.role is Role.INBOX)
    monkeypatch.setattr(copying, "MESSAGES", 1)
    copied: list[str] = []

    async def merge() -> None:
        await _note(copied)
        if len(copied) in (12, 29):
            number = 0 if len(copied) == 12 else 6
            ids = tuple(f"<{number + add}@x>" for add in (0, 3))
            tie = new_message(full_ann, subject="Re: talk", message_id=f"<tie {number}@x>", references=ids)
            before = await sharded.mail.state(full_ann)
            await sharded.mail.append([tie])
            assert await sharded.mail.state(full_ann) > before + 3

    then(Copy, "_messages", merge)
    await sharded.moves.move(full_ann, "west")
    entries = "SELECT mailbox_id, uid, message_id, modseq FROM mailbox_message ORDER BY mailbox_id, uid"
    assert await west.fetch(entries) == await east.fetch(entries)
    assert await west.fetch(DELIVERIES, full_ann) == await east.fetch(DELIVERIES, full_ann)
    view = await sharded.mail.view(full_ann, inbox)
    await sharded.mail.set_flags(full_ann, inbox, [view.entries[0].uid], op="add", system=SystemFlag.FLAGGED)
    await check_shards(sharded)


async def _note(steps: list[str]) -> None:
    steps.append("done")
