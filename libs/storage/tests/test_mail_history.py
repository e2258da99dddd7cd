"""Law 4 under concurrency: writers race over one account while readers follow its modseqs.

A reader starts from a view and then only ever asks for what changed since its last modseq, as IMAP sessions and JMAP
clients do. Whatever the interleaving, it must end with exactly what is there, see UIDs only rise, never see a UID again
that vanished, and never see flags change under an unchanged modseq.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from posthorn_model.errors import MailboxNotFound, PosthornError
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.ids import AccountId, MailboxId, MessageId, Modseq
from posthorn_model.mail import Entry, NewMessage
from posthorn_storage import AccountRecord
from posthorn_storage.mail import MessageFields, MessageUpdate
from posthorn_storage.mail_store import MailStore

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
MakeMessage = Callable[..., NewMessage]
Check = Callable[[], Awaitable[None]]
WORDS = ("a", "b", "c")


@dataclass
class Session:
    """A client that knows one mailbox by following modseqs, and complains about what may never happen."""

    mail: MailStore
    account: AccountId
    mailbox: MailboxId
    modseq: Modseq | None = None
    known: dict[int, Entry] = field(default_factory=dict)
    seen_flags: dict[tuple[int, int], Flags] = field(default_factory=dict)
    vanished: set[int] = field(default_factory=set)
    top: int = 0

    async def follow(self) -> None:
        view = await self.mail.view(self.account, self.mailbox, self.modseq)
        assert self.modseq is None or view.modseq >= self.modseq
        assert view.modseq >= view.mailbox.modseq
        for uid in view.expunged:
            self.known.pop(uid, None)
            self.vanished.add(uid)
        newest = self.top
        for entry in view.entries:
            assert entry.uid not in self.vanished, "an expunged message returned"
            assert entry.uid in self.known or entry.uid > self.top, "a UID appeared below the highest one known"
            assert entry.modseq <= view.modseq
            assert self.modseq is None or entry.modseq > self.modseq
            assert self.seen_flags.setdefault((entry.uid, entry.modseq), entry.flags) == entry.flags
            self.known[entry.uid] = entry
            newest = max(newest, entry.uid)
        self.top = max(newest, view.mailbox.uidnext - 1)
        self.modseq = view.modseq
        assert len(self.known) == view.mailbox.total
        unseen = sum(not entry.flags.system & SystemFlag.SEEN for entry in self.known.values())
        assert unseen == view.mailbox.unseen


@dataclass
class Client:
    """A JMAP client that knows which messages there are by Email/changes alone."""

    mail: MailStore
    account: AccountId
    state: Modseq
    known: set[int] = field(default_factory=set)

    async def follow(self) -> None:
        more = True
        while more:
            page = await self.mail.changes(self.account, ChangeKind.EMAIL, self.state, 7)
            assert not self.known & set(page.created)
            assert set(page.updated) <= self.known
            assert set(page.destroyed) <= self.known
            self.known |= set(page.created)
            self.known -= set(page.destroyed)
            assert page.new_state >= self.state
            self.state, more = page.new_state, page.has_more


class Writer:
    """Does one random thing after another in one account."""

    def __init__(self, mail: MailStore, make: MakeMessage, account: AccountId, boxes: Sequence[MailboxId], seed: int):
        self.mail, self.make, self.account, self.boxes = mail, make, account, boxes
        self.random = random.Random(seed)

    async def run(self, turns: int) -> None:
        steps = [self.append, self.append, self.deliver, self.flag, self.flag, self.copy, self.move, self.expunge,
                 self.update, self.destroy]  # fmt: skip
        for _ in range(turns):
            try:
                await self.random.choice(steps)()
            except MailboxNotFound:
                raise
            except PosthornError as error:
                raise AssertionError(error.fields) from error

    def some_flags(self) -> Flags:
        words = frozenset(word for word in WORDS if self.random.random() < 0.3)
        return Flags(SystemFlag(self.random.randrange(32)), words)

    def message(self, **more: object) -> NewMessage:
        flags = self.some_flags()
        number = self.random.randrange(30)
        references = (f"{self.random.randrange(30)}@x",) if self.random.random() < 0.5 else ()
        return self.make(
            self.account,
            *self.random.sample(self.boxes, self.random.choice((1, 1, 2))),
            message_id=f"{number}@x",
            references=references,
            text=str(self.random.random()),
            size=self.random.randrange(1, 50),
            flags=flags.system,
            keywords=flags.keywords,
            **more,
        )

    async def place(self) -> tuple[MailboxId, list[int]]:
        mailbox = self.random.choice(self.boxes)
        entries = await self.mail.entries(self.account, mailbox)
        return mailbox, [entry.uid for entry in entries if self.random.random() < 0.3]

    async def some_messages(self) -> list[MessageId]:
        entries = await self.mail.entries(self.account, self.random.choice(self.boxes))
        return [entry.message for entry in entries if self.random.random() < 0.15]

    async def append(self) -> None:
        await self.mail.append([self.message() for _ in range(self.random.randrange(1, 4))])

    async def deliver(self) -> None:
        message = self.message(delivery_id=uuid4(), delivered=True)
        first, second = await asyncio.gather(self.mail.deliver(message), self.mail.deliver(message))
        assert first[0].duplicate != second[0].duplicate

    async def flag(self) -> None:
        mailbox, uids = await self.place()
        flags = self.some_flags()
        op = self.random.choice(("add", "remove", "replace"))
        since = await self.mail.state(self.account) if self.random.random() < 0.3 else None
        await self.mail.set_flags(
            self.account, mailbox, uids, op=op, system=flags.system, keywords=flags.keywords, unchanged_since=since
        )

    async def copy(self) -> None:
        mailbox, uids = await self.place()
        await self.mail.copy(self.account, mailbox, uids[:3], self.random.choice(self.boxes))

    async def move(self) -> None:
        mailbox, uids = await self.place()
        await self.mail.move(self.account, mailbox, uids, self.random.choice(self.boxes))

    async def expunge(self) -> None:
        mailbox, uids = await self.place()
        await self.mail.expunge(self.account, mailbox, uids, only_deleted=self.random.random() < 0.5)

    async def update(self) -> None:
        updates = [
            MessageUpdate(
                message,
                flags=self.some_flags() if self.random.random() < 0.5 else None,
                add_flags=self.some_flags(),
                mailboxes=frozenset(self.random.sample(self.boxes, 2)) if self.random.random() < 0.5 else None,
            )
            for message in await self.some_messages()
        ]
        await self.mail.update_messages(self.account, updates)

    async def destroy(self) -> None:
        await self.mail.destroy_messages(self.account, (await self.some_messages())[:2])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_readers_that_follow_modseqs_miss_nothing(
    mail: MailStore,
    account: MakeAccount,
    new_message: MakeMessage,
    heard: list[Changed],
    check_sums: Check,
    seed: int,
) -> None:
    ann = (await account()).id
    heard.clear()
    boxes = [mailbox.id for mailbox in await mail.mailboxes(ann)][:3]
    sessions = [Session(mail, ann, mailbox) for mailbox in boxes]
    client = Client(mail, ann, await mail.state(ann))
    done = asyncio.Event()

    async def read(reader: Session | Client) -> None:
        while not done.is_set():
            await reader.follow()
        await reader.follow()

    readers = [asyncio.create_task(read(reader)) for reader in (*sessions, client)]
    writers = [Writer(mail, new_message, ann, boxes, seed * 100 + number) for number in range(5)]
    try:
        await asyncio.gather(*(writer.run(25) for writer in writers))
    finally:
        done.set()
    await asyncio.gather(*readers)

    everything = set()
    for session in sessions:
        entries = await mail.entries(ann, session.mailbox)
        assert sorted(session.known.values(), key=lambda entry: entry.uid) == entries
        everything |= {entry.message for entry in entries}
    assert client.known == everything
    assert everything
    assert client.state == max(event.modseq for event in heard) == await mail.state(ann)
    # Every commit was announced: once each, and no two with the same modseq.
    assert len({event.modseq for event in heard}) == len(heard)
    stored = await mail.messages(ann, [MessageId(one) for one in everything], MessageFields.MAILBOXES)
    assert len(stored) == len(everything)
    await check_sums()


async def test_accounts_do_not_wait_for_each_other_in_circles(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    """Batches over the same accounts in opposite order lock in id order: no deadlock, no retry needed."""
    people = [(await account(f"user{number}@example.org")).id for number in range(4)]
    rng = random.Random(7)

    async def send(number: int) -> None:
        order = rng.sample(people, 4)
        await mail.append([new_message(person, text=f"{number} {person}") for person in order])

    await asyncio.gather(*(send(number) for number in range(40)))
    for person in people:
        inbox = (await mail.mailboxes(person))[0]
        assert [entry.uid for entry in await mail.entries(person, inbox.id)] == list(range(1, 41))
        modseqs = [entry.modseq for entry in await mail.entries(person, inbox.id)]
        assert modseqs == sorted(set(modseqs))
    await check_sums()
