"""Moving an account in use: nothing is lost, repeated or seen twice, wherever the move is cut short."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest

from posthorn_model.errors import AccountMoving, AlreadyExists, CannotCalculateChanges, NotPermitted, Unavailable
from posthorn_model.events import ChangeKind
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import AccountId, Epoch, MailboxId, Modseq
from posthorn_model.mail import NewMessage, Role
from posthorn_storage import Storage, StorageSettings
from posthorn_storage.index import Document, Done, IndexTasks
from posthorn_storage.index.port import Texts
from posthorn_storage.mail import MessageFields
from posthorn_storage.mail.search import Matches, SearchQuery, TextField
from posthorn_storage.shards.moving import Moves, moves
from posthorn_storage.shards.moving.contents import COMPARED, COUNTER, LOGGED, MADE, MOVED, OWNED, WHOLE
from posthorn_storage.shards.moving.copying import Copy
from posthorn_storage.shards.shard import Shard

MakeMessage = Callable[..., NewMessage]
CheckShards = Callable[[Storage], Awaitable[None]]

ROWS = 'SELECT count(*) FROM "{}" WHERE account_id = $1'


class Killed(BaseException):
    """What a process that is killed runs into: nothing of it cleans up."""


async def ann_of(storage: Storage) -> AccountId:
    """ann lives on the shard "east"."""
    return (await storage.directory.add_account("ann@example.org", "a password")).id


async def left(shard: Shard, account: AccountId) -> int:
    """How many rows of the account are in tables whose rows are compared."""
    counts = [await shard.database.fetchval(ROWS.format(table), account) for table in COMPARED]
    return sum(counts)


async def everything(storage: Storage, ann: AccountId) -> object:
    """What clients can see of the account."""
    boxes = await storage.mail.mailboxes(ann)
    entries = {box.id: await storage.mail.entries(ann, box.id) for box in boxes}
    ids = sorted({entry.message for each in entries.values() for entry in each})
    messages = await storage.mail.messages(ann, ids, MessageFields.ENVELOPE | MessageFields.SUMMARY)
    contents = [await storage.blobs.read(ann, message.blob) for message in messages if message.subject == "large"]
    logs = [await storage.mail.changes(ann, kind, Modseq(0)) for kind in ChangeKind]
    collections = await storage.groupware.collections(ann)
    items = [await storage.groupware.items(ann, one.id) for one in collections]
    identities = await storage.directory.identities(ann)
    return boxes, entries, messages, contents, logs, collections, items, identities


def test_every_table_of_an_account_moves() -> None:
    from posthorn_storage.removal import account_tables
    from posthorn_storage.schema import metadata

    assert {*account_tables(), "account_counter", "blob_ref"} == MOVED
    assert set(COMPARED) == MOVED - {COUNTER, "message_index", *MADE}, "indexing goes on meanwhile on both sides"
    assert set(COMPARED) == {*OWNED, LOGGED, *WHOLE}
    for table, columns in COMPARED.items():
        if columns != "*":
            assert set(columns.split(", ")) <= set(metadata.tables[table].columns.keys())


async def test_an_idle_account_is_the_same_elsewhere(
    sharded: Storage, full_ann: AccountId, new_message: MakeMessage, check_shards: CheckShards
) -> None:
    before = await everything(sharded, full_ann)
    steps = []
    moved = await sharded.moves.move(full_ann, "west", steps.append)
    assert (moved.source, moved.target, moved.messages) == ("east", "west", 29)
    assert [step.step for step in steps] == ["copying", "catching up", "frozen", "switched"]
    assert (await sharded.shards.of(full_ann)).name == "west"
    assert await everything(sharded, full_ann) == before
    (stored,) = await sharded.mail.append([new_message(full_ann, text="after")])
    assert stored.modseq > before[0][0].modseq  # type: ignore[index]
    await check_shards(sharded)
    with pytest.raises(NotPermitted):
        await sharded.moves.move(full_ann, "west")
    with pytest.raises(AlreadyExists):
        await sharded.moves.move(full_ann, "postgres")


async def test_what_was_indexed_is_found_at_once(
    sharded: Storage, new_message: MakeMessage, check_shards: CheckShards
) -> None:
    """Attachments as well, which the target has yet to read; then everything is indexed there anew."""
    ann = await ann_of(sharded)
    (stored,) = await sharded.mail.append([new_message(ann, text="the letter")])
    east, west = await sharded.shards.of(ann), sharded.shards.named("west")
    (claim,) = await IndexTasks(east.database).claim(Epoch(1), 10)
    await east.index.write([Document(claim, Texts("", "", "", "", "", "the letter", "of its attachment"))])
    await sharded.moves.move(ann, "west")
    for words in ("letters", "attachments"):
        found = await sharded.mail.search(ann, SearchQuery(Matches(TextField.TEXT, words)))
        assert found.ids == [stored.message], words
    assert (await IndexTasks(west.database).lag()).waiting == 1
    assert await sharded.search.indexers()["west"].step(Epoch(1), 10) == Done(1, 1, 0)
    assert (await sharded.search.status(ann)).indexed == 1
    await check_shards(sharded)


async def test_what_stays_behind_goes_and_the_account_can_come_back(
    sharded: Storage,
    full_ann: AccountId,
    new_message: MakeMessage,
    check_shards: CheckShards,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    east = await sharded.shards.of(full_ann)
    await sharded.moves.move(full_ann, "postgres")
    assert await sharded.moves.clean() == []
    monkeypatch.setattr(moves, "LINGER_SECONDS", 0.0)
    assert await sharded.moves.clean() == [full_ann]
    assert await sharded.moves.all() == []
    assert await left(east, full_ann) == 0
    before = await everything(sharded, full_ann)
    await sharded.moves.move(full_ann, "east")
    assert await everything(sharded, full_ann) == before
    await check_shards(sharded)


async def test_other_processes_follow(sharded: Storage, settings: StorageSettings, new_message: MakeMessage) -> None:
    """One that remembers the old place: its reads of state, its writes and its uploads find the new one."""
    ann = await ann_of(sharded)
    others = [await Storage.open(settings) for _ in range(4)]
    try:
        inbox = (await others[0].mail.mailboxes(ann))[0]
        for other in others:
            assert (await other.shards.of(ann)).name == "east"
        await sharded.moves.move(ann, "west")
        await sharded.mail.append([new_message(ann)])
        assert len((await others[0].mail.view(ann, inbox.id, inbox.modseq)).entries) == 1
        assert (await others[1].mail.append([new_message(ann, text="two")]))[0].uids[0][2] == 2
        key = await others[2].blobs.upload(ann, b"x" * 50_000)
        assert await sharded.blobs.may_read(ann, key)
        assert await others[3].mail.modseqs([ann]) == {}
        assert await others[3].mail.modseqs([ann]) == await sharded.mail.modseqs([ann])
        for other in others:
            assert (await other.shards.of(ann)).name == "west"
    finally:
        for other in others:
            await other.close()


class Reader:
    """Follows an account by modseq alone, as a client does, and knows what it saw."""

    def __init__(self, storage: Storage, ann: AccountId, mailbox: MailboxId) -> None:
        self.storage, self.ann, self.mailbox = storage, ann, mailbox
        self.modseq: Modseq | None = None
        self.seen: dict[int, tuple[object, ...]] = {}
        self.created: list[int] = []
        self.state = Modseq(0)

    async def look(self) -> None:
        view = await self.storage.mail.view(self.ann, self.mailbox, self.modseq)
        assert self.modseq is None or view.modseq >= self.modseq
        for uid in view.expunged:
            self.seen.pop(uid, None)
        for entry in view.entries:
            self.seen[entry.uid] = (entry.message, entry.flags, entry.modseq)
        self.modseq = view.modseq
        changes = await self.storage.mail.changes(self.ann, ChangeKind.EMAIL, self.state)
        self.created += changes.created
        self.state = changes.new_state


async def test_an_account_in_use_is_moved_back_and_forth(
    sharded: Storage,
    settings: StorageSettings,
    new_message: MakeMessage,
    check_shards: CheckShards,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ann = await ann_of(sharded)
    monkeypatch.setattr(moves, "LINGER_SECONDS", 0.0)
    node = await Storage.open(settings)
    inbox = (await sharded.mail.mailboxes(ann))[0].id
    reader = Reader(node, ann, inbox)
    delivered: list[int] = []
    over = asyncio.Event()
    chance = random.Random(7)

    async def deliver(storage: Storage, name: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            text = f"{name} {number}"
            new = new_message(ann, text=text, message_id=f"<{text}>", references=(f"<{name} {number - 1}>",))
            (stored,) = await storage.mail.deliver(replace(new, delivery_id=uuid4()))
            assert not stored.duplicate
            delivered.append(stored.message)

    async def change(storage: Storage) -> None:
        while not over.is_set():
            uids = [entry.uid for entry in await storage.mail.entries(ann, inbox)]
            some = chance.sample(uids, min(len(uids), 5))
            op = chance.choice(("add", "remove"))
            await storage.mail.set_flags(ann, inbox, some, op=op, system=SystemFlag.SEEN)  # type: ignore[arg-type]

    async def follow() -> None:
        while not over.is_set():
            await reader.look()

    async def move() -> None:
        try:
            for target in ("west", "postgres", "east"):
                await sharded.moves.move(ann, target)
                await sharded.moves.clean()
        finally:
            over.set()

    try:
        async with asyncio.TaskGroup() as tasks:
            for work in (deliver(sharded, "a"), deliver(node, "b"), change(sharded), follow(), move()):
                tasks.create_task(work)
        await reader.look()
        entries = await sharded.mail.entries(ann, inbox)
        assert reader.seen == {entry.uid: (entry.message, entry.flags, entry.modseq) for entry in entries}
        assert sorted(reader.created) == sorted(delivered) == sorted(entry.message for entry in entries)
        assert [entry.uid for entry in entries] == list(range(1, len(entries) + 1))
        await check_shards(sharded)
    finally:
        await node.close()


async def test_an_account_that_gets_mail_faster_than_it_is_copied_is_moved(
    sharded: Storage, new_message: MakeMessage, check_shards: CheckShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as much arrives as is copied, all the time: only the freeze can end that, and it comes soon."""
    ann = await ann_of(sharded)
    await sharded.mail.append([new_message(ann, text=f"before {number}") for number in range(4)])
    real = Copy._messages
    copied = 0

    async def beaten(self: Copy, ids: Sequence[int]) -> None:
        nonlocal copied
        copied += len(ids)
        assert copied < 1000, "the copy runs after the writers instead of freezing the account"
        await real(self, ids)
        counter = await self.source.database.fetchval("SELECT state FROM account_counter WHERE account_id = $1", ann)
        if ids and counter == 0:
            await sharded.mail.append([new_message(ann, text=uuid4().hex) for _ in range(2 * len(ids))])

    monkeypatch.setattr(Copy, "_messages", beaten)
    monkeypatch.setattr("posthorn_storage.shards.moving.copying.MESSAGES", 2)
    monkeypatch.setattr(moves, "FEW", 0)
    await sharded.moves.move(ann, "west")
    assert (await sharded.shards.of(ann)).name == "west"
    (inbox, *_) = await sharded.mail.mailboxes(ann)
    assert inbox.total == copied
    await check_shards(sharded)


STEPS = ("_clear", "_freeze", "_switch", "_complete")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_move_cut_short(
    sharded: Storage,
    full_ann: AccountId,
    new_message: MakeMessage,
    check_shards: CheckShards,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    after: bool,
) -> None:
    """Killed before or after a step: the account is where it was, or moved; whole, and open again after `recover`."""
    before = await everything(sharded, full_ann)
    real = getattr(Moves, step)

    async def killed(self: Moves, *arguments: object) -> None:
        if after:
            await real(self, *arguments)
        raise Killed

    async def nothing(self: Moves, *_: object) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(Moves, step, killed)
        patch.setattr(Moves, "_abort", nothing)
        with pytest.raises(Killed):
            await sharded.moves.move(full_ann, "west")
    await sharded.moves.recover()
    sharded.shards.placements.forget()
    switched = step == "_complete" or (step == "_switch" and after)
    assert (await sharded.shards.of(full_ann)).name == ("west" if switched else "east")
    assert await everything(sharded, full_ann) == before
    await sharded.mail.append([new_message(full_ann, text="after")])
    await check_shards(sharded)
    if not switched:
        west = sharded.shards.named("west")
        assert await left(west, full_ann) == 0
        await sharded.moves.move(full_ann, "west")


async def test_a_mover_that_wakes_up_late_switches_nothing(
    sharded: Storage,
    full_ann: AccountId,
    new_message: MakeMessage,
    check_shards: CheckShards,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Moves._switch

    async def paused(self: Moves, account: AccountId, *arguments: object) -> None:
        """Its lease runs out, the move is undone, the account is written to; then it goes on."""
        await sharded._database.execute("UPDATE lease SET until = now() WHERE key = $1", f"move/{account}")
        assert await sharded.moves.recover() == 1
        await sharded.mail.append([new_message(full_ann, text="meanwhile")])
        await real(self, account, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Moves, "_switch", paused)
        with pytest.raises(Unavailable, match="taken over"):
            await sharded.moves.move(full_ann, "west")
    assert (await sharded.shards.of(full_ann)).name == "east"
    inbox = next(box for box in await sharded.mail.mailboxes(full_ann) if box.role is Role.INBOX)
    written = await sharded.mail.entries(full_ann, inbox.id)
    (last,) = await sharded.mail.messages(full_ann, [written[-1].message], MessageFields.SUMMARY)
    assert last.preview == "meanwhile"
    await check_shards(sharded)


async def test_a_frozen_account_makes_writers_wait_and_lets_readers_read(
    sharded: Storage, new_message: MakeMessage
) -> None:
    ann = await ann_of(sharded)
    east = await sharded.shards.of(ann)
    await east.database.execute("UPDATE account_counter SET state = 1, move_epoch = 5")
    writing = asyncio.create_task(sharded.mail.append([new_message(ann)]))
    assert (await sharded.mail.mailboxes(ann))[0].total == 0
    assert await sharded.mail.state(ann) > 0
    assert not writing.done()
    assert await sharded.moves.recover() == 1
    assert len(await writing) == 1


async def test_an_account_that_stays_frozen_is_a_temporary_error(
    sharded: Storage, new_message: MakeMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await ann_of(sharded)
    await (await sharded.shards.of(ann)).database.execute("UPDATE account_counter SET state = 1, move_epoch = 5")
    monkeypatch.setattr("posthorn_storage.shards.shards.PAUSES", (0.0, 0.0))
    for attempt in (
        sharded.mail.append([new_message(ann)]),
        sharded.mail.deliver([new_message(ann)]),
        sharded.blobs.upload(ann, b"x"),
    ):
        with pytest.raises(AccountMoving) as caught:
            await attempt
        assert caught.value.temporary


async def test_a_log_that_was_cut_meanwhile_ends_the_move(
    sharded: Storage, new_message: MakeMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await ann_of(sharded)
    east = await sharded.shards.of(ann)
    real = Moves._freeze

    async def cut(self: Moves, *arguments: object) -> Modseq:
        await sharded.mail.append([new_message(ann)])
        await east.database.execute("UPDATE account_counter SET horizon = modseq")
        return await real(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Moves, "_freeze", cut)
        with pytest.raises(CannotCalculateChanges):
            await sharded.moves.move(ann, "west")
    await sharded.mail.append([new_message(ann, text="still open")])


async def test_an_account_removed_while_it_moves(
    sharded: Storage, full_ann: AccountId, new_message: MakeMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Moves._freeze

    async def removed(self: Moves, *arguments: object) -> Modseq:
        await sharded.directory.delete_account("ann@example.org")
        return await real(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Moves, "_freeze", removed)
        with pytest.raises(Exception, match="no such account"):
            await sharded.moves.move(full_ann, "west")
    for shard in sharded.shards:
        assert await left(shard, full_ann) == 0
    assert await sharded.moves.all() == []
