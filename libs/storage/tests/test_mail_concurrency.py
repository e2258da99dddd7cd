"""Concurrent writers on one account, against a model, with readers that follow its modseq.

Hypothesis makes the programs of three writers, which run at the same time on two Storages (as on two nodes). Commits
are ordered by the modseq each of them ended with; in that order a model of an account repeats them, and must come to
the same results and to the same end. Meanwhile followers read what changed since they last looked, as IMAP does (views,
vanished UIDs) and as JMAP does (pages of changes); now and then the account's lock is taken, its rows are read, and
what the followers have put together must be just that. No change may ever be invisible to who follows modseqs.

Each of these was put in by hand and is caught within the examples of one run: the counter read without its lock (so
that modseqs are taken before it), the reading statement of a delivery believed although its lock had waited, no
VANISHED row for an expunged UID, a thread that is joined logged as created, a merge of threads that does not say which
ids ended.
"""

import asyncio
import os
import random
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from posthorn_model.errors import MailboxNotFound, PosthornError
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import AccountId, MailboxId, Modseq
from posthorn_model.mail import Appended, NewMessage
from posthorn_storage import FsSettings, Storage, StorageSettings
from posthorn_storage.mail.flags import FlagsOp, FlagsResult
from posthorn_testkit.databases import Databases

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]
SEED = int(os.environ.get("POSTHORN_TEST_SEED", "20261125"))
EXAMPLES = int(os.environ.get("POSTHORN_TEST_EXAMPLES", "60"))
WRITERS = 3

Flagged = tuple[int, frozenset[str]]
"""System bits and keywords."""


# What is done


@dataclass(frozen=True)
class Op:
    """One unit of work. Mailboxes are named by their place among those there are when it begins."""

    kind: str
    box: int = 0
    target: int = 0
    uids: tuple[int, ...] = ()
    how: FlagsOp = "add"
    system: SystemFlag = SystemFlag.NONE
    keywords: frozenset[str] = frozenset()
    named: tuple[int, ...] = ()
    """The message's own Message-ID first, then those it refers to."""


boxes = st.integers(0, 4)
uids = st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True).map(tuple)
named = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True).map(tuple)
systems = st.sampled_from([SystemFlag.NONE, SystemFlag.SEEN, SystemFlag.FLAGGED, SystemFlag.DELETED])
words = st.sets(st.sampled_from(["red", "blue"])).map(frozenset)
ops = st.one_of(
    st.builds(Op, st.just("append"), box=boxes, system=systems, keywords=words, named=named),
    st.builds(Op, st.just("deliver"), named=named),
    st.builds(Op, st.just("repeat")),
    st.builds(Op, st.just("copy"), box=boxes, target=boxes, uids=uids),
    st.builds(Op, st.just("move"), box=boxes, target=boxes, uids=uids),
    st.builds(
        Op, st.just("flags"), box=boxes, uids=uids, how=st.sampled_from(["add", "remove", "replace"]),
        system=systems, keywords=words,
    ),
    st.builds(Op, st.just("expunge"), box=boxes, uids=uids),
    st.builds(Op, st.sampled_from(["create", "rename", "delete"]), box=boxes),
)  # fmt: skip
programs = st.lists(st.lists(ops, min_size=3, max_size=12), min_size=WRITERS, max_size=WRITERS)


@dataclass
class Done:
    """A unit of work that was run. `modseq` is the account's after its commit, 0 when it changed nothing."""

    op: Op
    box: MailboxId
    target: MailboxId
    token: bytes = b""
    modseq: int = 0
    result: Any = None


RUNNING: ContextVar[Done | None] = ContextVar("running", default=None)


class Run:
    """One example: an account of its own on storages that all examples share."""

    def __init__(self, storages: list[Storage], account: AccountId, make: Callable[..., NewMessage]) -> None:
        self.storages = storages
        self.account = account
        self.make = make
        self.boxes: list[MailboxId] = []
        self.done: list[Done] = []
        self.delivered: list[NewMessage] = []

    async def write(self, storage: Storage, program: list[Op]) -> None:
        """Run one writer's program."""
        for op in program:
            done = Done(op, self.boxes[op.box % len(self.boxes)], self.boxes[op.target % len(self.boxes)])
            RUNNING.set(done)
            try:
                done.result = await self.perform(storage, done)
            except PosthornError as error:
                done.result = error
            self.done.append(done)

    async def perform(self, storage: Storage, done: Done) -> Any:
        mail, account, op = storage.mail, self.account, done.op
        match op.kind:
            case "append" | "deliver":
                message = self.message(done)
                if op.kind == "append":
                    return await mail.append([message])
                self.delivered.append(message)
                return await mail.deliver(message)
            case "repeat" if self.delivered:
                done.token = self.delivered[0].blob.key
                return await mail.deliver(self.delivered[0])
            case "copy":
                return (await mail.copy(account, done.box, op.uids, done.target)).pairs
            case "move":
                return (await mail.move(account, done.box, op.uids, done.target)).pairs
            case "flags":
                return await mail.set_flags(
                    account, done.box, op.uids, op=op.how, system=op.system, keywords=op.keywords
                )
            case "expunge":
                return await mail.expunge(account, done.box, op.uids, only_deleted=False)
            case "create":
                made = await mail.create_mailbox(account, uuid4().hex)
                self.boxes.append(made.id)
                return made.id
            case "rename":
                await mail.update_mailbox(account, done.box, name=uuid4().hex)
            case "delete":
                await mail.delete_mailbox(account, done.box, remove_messages=True)
        return None

    def message(self, done: Done) -> NewMessage:
        op, text = done.op, uuid4().hex
        own, *others = (f"{number}@x" for number in op.named)
        delivery = op.kind == "deliver"
        message = self.make(
            self.account,
            *([] if delivery else [done.box]),
            text=text,
            message_id=own,
            references=tuple(others),
            flags=op.system,
            keywords=op.keywords,
            delivery_id=UUID(hex=text) if delivery else None,
        )
        done.token = message.blob.key
        return message

    def heard(self, event: Changed) -> None:
        """The store told of a commit, in the context of who asked for it (or of a batch, which tells otherwise)."""
        done = RUNNING.get()
        if done is not None and event.account == self.account and done.op.kind not in ("append", "deliver", "repeat"):
            done.modseq = event.modseq


# What must come of it


@dataclass
class Model:
    """An account that does one thing after the other: mailboxes, their UIDs and what these stand for."""

    boxes: dict[int, dict[int, tuple[bytes, Flagged]]]
    uidnext: dict[int, int]
    inbox: int

    def put(self, box: int, token: bytes, flags: Flagged) -> int:
        uid = self.uidnext[box]
        self.uidnext[box] = uid + 1
        self.boxes[box][uid] = (token, flags)
        return uid

    def apply(self, done: Done) -> None:
        """Do it, and compare what came of it with what the store said."""
        op, box, target = done.op, done.box, done.target
        match op.kind:
            case "append" | "deliver" | "repeat":
                to = box if op.kind == "append" else self.inbox
                [appended] = done.result
                assert [(b, uid) for b, _, uid in appended.uids] == [
                    (to, self.put(to, done.token, (int(op.system), op.keywords)))
                ]
            case "copy" | "move":
                chosen = {uid: self.boxes[box][uid] for uid in sorted(op.uids) if uid in self.boxes[box]}
                if op.kind == "move":
                    for uid in chosen:
                        del self.boxes[box][uid]
                assert done.result == [(uid, self.put(target, *entry)) for uid, entry in chosen.items()]
            case "flags":
                result: FlagsResult = done.result
                expected = self.flag(op, self.boxes[box])
                assert {e.uid: (int(e.flags.system), e.flags.keywords) for e in result.changed} == expected
            case "expunge":
                gone = [uid for uid in sorted(op.uids) if self.boxes[box].pop(uid, None)]
                assert done.result == gone
            case "create":
                self.boxes[done.result], self.uidnext[done.result] = {}, 1
            case "delete":
                del self.boxes[box]

    def flag(self, op: Op, entries: dict[int, tuple[bytes, Flagged]]) -> dict[int, Flagged]:
        changed = {}
        for uid in set(op.uids) & set(entries):
            token, (system, keywords) = entries[uid]
            new = {
                "add": (system | op.system, keywords | op.keywords),
                "remove": (system & ~op.system, keywords - op.keywords),
                "replace": (int(op.system), op.keywords),
            }[op.how]
            if new != (system, keywords):
                entries[uid] = (token, new)
                changed[uid] = new
        return changed


# What is there, and what followers believe


@dataclass
class Truth:
    """The rows of the account, read under its lock."""

    modseq: int
    views: dict[int, dict[int, tuple[int, Flagged, int]]]
    """By mailbox and UID: message, flags, modseq."""
    tokens: dict[int, bytes]
    """By message."""
    objects: dict[ChangeKind, dict[int, object]] = field(default_factory=dict)
    """By kind and id, what a client can see of them."""


ROWS = """
SELECT b.mailbox_id, b.uid, b.message_id, b.flags, b.keywords, b.modseq, m.thread_id, m.blob_key
FROM mailbox_message b JOIN message m ON m.account_id = b.account_id AND m.id = b.message_id WHERE b.account_id = $1
"""
LOCK = "SELECT modseq FROM account_counter WHERE account_id = $1 FOR NO KEY UPDATE"


async def read_truth(connection: Any, account: AccountId) -> Truth:
    """Read everything; the caller holds the lock."""
    truth = Truth(await connection.fetchval(LOCK, account), {}, {})
    places: dict[int, set[object]] = {}
    threads: dict[int, set[int]] = {}
    found = await connection.fetch("SELECT id, name, total, unseen FROM mailbox WHERE account_id = $1", account)
    truth.views = {row["id"]: {} for row in found}
    for row in await connection.fetch(ROWS, account):
        message, flags = row["message_id"], (row["flags"], frozenset(row["keywords"]))
        truth.views[row["mailbox_id"]][row["uid"]] = (message, flags, row["modseq"])
        truth.tokens[message] = row["blob_key"]
        places.setdefault(message, {row["thread_id"]}).add((row["mailbox_id"], flags))
        threads.setdefault(row["thread_id"], set()).add(message)
    truth.objects = {
        ChangeKind.MAILBOX: {row["id"]: tuple(row) for row in found},
        ChangeKind.EMAIL: dict(places),
        ChangeKind.THREAD: dict(threads),
    }
    return truth


class Viewer:
    """Follows one mailbox as IMAP does: what is new or changed since, and what vanished."""

    def __init__(self, box: MailboxId) -> None:
        self.box = box
        self.since: Modseq | None = None
        self.entries: dict[int, tuple[int, Flagged, int]] = {}
        self.top = 0
        self.gone: set[int] = set()

    async def step(self, storage: Storage, account: AccountId) -> None:
        try:
            view = await storage.mail.view(account, self.box, self.since)
        except MailboxNotFound:
            self.entries = {}
            return
        for entry in view.entries:
            new = (int(entry.message), (int(entry.flags.system), entry.flags.keywords), int(entry.modseq))
            old = self.entries.get(entry.uid)
            assert entry.uid not in self.gone, "what is expunged never returns"
            assert (self.since or 0) < entry.modseq <= view.modseq
            if old is None:
                assert entry.uid > self.top, "UIDs ascend in the order of commits"
                self.top = entry.uid
            else:
                assert old[2] < entry.modseq, "an unchanged modseq means unchanged flags"
            self.entries[entry.uid] = new
        for uid in view.expunged:
            self.entries.pop(uid, None)
            self.gone.add(uid)
            self.top = max(self.top, uid)
        self.since = view.modseq


class Follower:
    """Follows the objects of one kind as JMAP does, page by page."""

    def __init__(self, kind: ChangeKind, since: Modseq, ids: set[int]) -> None:
        self.kind = kind
        self.since = since
        self.ids = ids
        self.dead: set[int] = set()
        self.touched: set[int] = set()
        self.shown: dict[int, object] = {}

    async def step(self, storage: Storage, account: AccountId, limit: int | None) -> None:
        more = True
        while more:
            page = await storage.mail.changes(account, self.kind, self.since, limit)
            assert self.ids.isdisjoint(page.created)
            assert self.dead.isdisjoint([*page.created, *page.updated]), "what is destroyed never returns"
            assert self.ids.issuperset(page.updated)
            self.ids = (self.ids | set(page.created)) - set(page.destroyed)
            self.dead |= set(page.destroyed)
            self.touched |= {*page.created, *page.updated}
            assert page.new_state > self.since or not page.has_more
            self.since, more = page.new_state, page.has_more

    def compare(self, truth: Truth) -> None:
        """Everything that is there is known, and what changed was told."""
        now = truth.objects[self.kind]
        assert self.ids == set(now), self.kind
        unseen = {key for key, shown in now.items() if self.shown.get(key, shown) != shown} - self.touched
        assert not unseen, (self.kind, "changed without a word", unseen)
        self.shown, self.touched = dict(now), set()


class Followers:
    """All readers of one run. They begin when nothing is written yet."""

    def __init__(self, run: Run, truth: Truth) -> None:
        self.run = run
        self.viewers: dict[int, Viewer] = {}
        self.others = [Follower(kind, Modseq(truth.modseq), set(found)) for kind, found in truth.objects.items()]
        self.chance = random.Random(SEED)

    async def step(self) -> None:
        """Let each of them look once, without any lock, on whichever node."""
        for box in self.run.boxes:
            await self.viewers.setdefault(box, Viewer(box)).step(self.node(), self.run.account)
        for other in self.others:
            # A commit may touch more mailboxes than a small page holds; they share its modseq.
            limit = None if other.kind is ChangeKind.MAILBOX else self.chance.choice([1, 3, None])
            await other.step(self.node(), self.run.account, limit)

    def node(self) -> Storage:
        return self.chance.choice(self.run.storages)

    async def compare(self, connection: Any) -> Truth:
        """Look while nobody can write, and compare with the rows."""
        async with connection.transaction():
            truth = await read_truth(connection, self.run.account)
            await self.step()
        for box, viewer in self.viewers.items():
            assert viewer.entries == truth.views.get(box, {}), "a view that was followed is the mailbox"
        for other in self.others:
            other.compare(truth)
        return truth


async def run_example(run: Run, connection: Any, program: list[list[Op]]) -> None:
    """Run the writers and the readers of one example, and judge."""
    start = await read_truth(connection, run.account)
    inbox = next(box.id for box in await run.storages[0].mail.mailboxes(run.account) if box.role == "inbox")
    run.boxes = [inbox, *(MailboxId(box) for box in list(start.views) if box != inbox)][:3]
    for storage in run.storages:
        storage.on_change = run.heard
    followers = Followers(run, start)
    model = Model({box: {} for box in start.views}, dict.fromkeys(start.views, 1), inbox)
    async with asyncio.TaskGroup() as group:
        writers = [
            group.create_task(run.write(run.storages[number % len(run.storages)], ops))
            for number, ops in enumerate(program)
        ]
        while not all(writer.done() for writer in writers):
            await followers.step()
            await followers.compare(connection)
    truth = await followers.compare(connection)
    for done in run.done:
        match done.result:
            case PosthornError() as error:
                assert not error.temporary, error
                assert done.modseq == 0, "what was refused has changed nothing"
            case [Appended(duplicate=False, modseq=modseq)]:
                done.modseq = modseq
    changing = sorted((done for done in run.done if done.modseq), key=lambda done: done.modseq)
    assert len({done.modseq for done in changing}) == len(changing), "no modseq is given twice"
    for done in changing:
        model.apply(done)
    stored = {
        box: {uid: (truth.tokens[message], flags) for uid, (message, flags, _) in view.items()}
        for box, view in truth.views.items()
    }
    assert stored == model.boxes
    assert (await run.storages[0].check.account(run.account)).findings == []


def test_concurrent_writers_against_a_model(
    databases: Databases, tmp_path: Path, new_message: Callable[..., NewMessage]
) -> None:
    """See the module. Another seed or number of examples: POSTHORN_TEST_SEED, POSTHORN_TEST_EXAMPLES."""
    print(f"seed {SEED}, {EXAMPLES} examples")
    with databases.fresh() as dsn, asyncio.Runner() as runner:
        opened = StorageSettings(dsn=dsn, blobs=FsSettings(tmp_path / "blobs"))
        storages = [runner.run(Storage.open(opened)) for _ in range(2)]
        connection = runner.run(asyncpg.connect(dsn))
        runner.run(storages[0].directory.add_domain("example.org"))

        @seed(SEED)
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )  # fmt: skip
        @given(programs)
        def examples(program: list[list[Op]]) -> None:
            async def example() -> None:
                made = await storages[0].directory.add_account(f"{uuid4().hex}@example.org", None)
                await run_example(Run(storages, made.id, new_message), connection, program)

            runner.run(example())

        try:
            examples()
        finally:
            runner.run(connection.close())
            for storage in storages:
                runner.run(storage.close())
