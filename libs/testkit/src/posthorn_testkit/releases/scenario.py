"""What a release does in a recording: every store once and more, in an order that is always the same.

Nothing in it depends on the clock or on chance. It grows with the library; a recording keeps what it was at its time.
"""
# size: one story, told in order from the first domain to the last account

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from posthorn_model.cluster import Process
from posthorn_model.errors import PosthornError
from posthorn_model.events import ChangeKind
from posthorn_model.flags import NO_FLAGS, Flags, SystemFlag
from posthorn_model.groupware import CollectionKind
from posthorn_model.ids import AccountId, BlobKey, Epoch, MailboxId, MessageId, Modseq, NodeId, ThreadId
from posthorn_model.mail import Mailbox, MessageSummary, NewMessage, PreparedBlob, Role
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Outcome, RecipientState
from posthorn_storage import FsSettings, Identity, Storage, StorageSettings
from posthorn_storage.groupware import NewItem
from posthorn_storage.mail.messages import MessageFields
from posthorn_storage.mail.search import (
    And,
    Contains,
    HasAttachment,
    HasFlags,
    Header,
    InMailbox,
    InOtherThan,
    InThread,
    MessageIds,
    ModseqFrom,
    Not,
    Or,
    Received,
    SearchQuery,
    Sent,
    Size,
    Sort,
    SortKey,
    TextField,
    ThreadHasFlags,
    Uids,
)
from posthorn_storage.mail.updates import MessageUpdate
from posthorn_storage.queue import QueueFilter
from posthorn_storage.submissions import NewSubmission

THEN = datetime(2026, 1, 1, tzinfo=UTC)
FAR = datetime(2999, 1, 1, tzinfo=UTC)
SEEN, FLAGGED, DELETED = SystemFlag.SEEN, SystemFlag.FLAGGED, SystemFlag.DELETED
HOUR = 3600.0
Step = Callable[[str], None]

# The database's clock gives the first UIDVALIDITY; a recording must not depend on it.
TAME = (
    "UPDATE account_counter SET uidvalidity = 1000",
    "UPDATE mailbox SET uidvalidity = 1000",
)


class Play:
    """The scenario's stage: the storage, its accounts, and messages made by hand."""

    def __init__(self, storage: Storage, side: Any) -> None:
        self.storage = storage
        self.side = side
        """A connection of the scenario's own, for what no method does: making things old."""
        self.ann = self.bob = AccountId(0)
        self.boxes: dict[Role | None, Mailbox] = {}
        self.ids: list[MessageId] = []

    @property
    def inbox(self) -> MailboxId:
        return self.boxes[Role.INBOX].id

    @property
    def trash(self) -> MailboxId:
        return self.boxes[Role.TRASH].id


def message(
    account: AccountId,
    text: str,
    *mailboxes: MailboxId,
    references: tuple[str, ...] = (),
    flags: Flags = NO_FLAGS,
    delivery: int | None = None,
    dedupe: bytes | None = None,
    subject: str = "Hello",
) -> NewMessage:
    """A message with a small inline blob."""
    content = f"{text}|{subject}|{references}".encode()
    summary = MessageSummary(
        size=1000 + len(text),
        message_id=f"{text}@example.net",
        in_reply_to=references[-1:],
        references=references,
        subject=subject,
        base_subject=subject,
        sent_at=THEN,
        preview=text,
        has_attachment=text.startswith("a"),
        envelope=b'("envelope")',
        body_structure=b'("text" "plain")',
        body=b'("text")',
        structure=b"{}",
        listing=b'{"from":[{"name":"Bob","email":"bob@example.net"}],"to":[{"name":null,"email":"ann@example.org"}]}',
        headers=f"From: Bob <bob@example.net>\r\nSubject: {subject}\r\n".encode(),
        search_text=f"the quick brown fox {text}",
    )
    return NewMessage(
        account,
        mailboxes,
        summary,
        inline(content),
        flags,
        THEN + timedelta(hours=len(text)),
        None if delivery is None else UUID(int=delivery),
        dedupe,
        delivered=delivery is not None,
    )


def inline(content: bytes) -> PreparedBlob:
    """A blob that is carried to the row, plain."""
    return PreparedBlob(BlobKey(hashlib.sha256(content).digest()), len(content), content, 0)


def large(name: str) -> bytes:
    """More bytes than a row takes, that do not compress, the same each time."""
    return b"".join(hashlib.sha512(f"{name}{n}".encode()).digest() for n in range(1000))


async def play(dsn: str, folder: Path, step: Step) -> None:
    """Run the scenario on an empty migrated database; `step` hears what comes next."""
    side = await asyncpg.connect(dsn)
    try:
        storage = await Storage.open(
            StorageSettings(dsn=dsn, blobs=FsSettings(folder), pool_size=1, compression="none")
        )
        try:
            stage = Play(storage, side)
            for act in ACTS:
                step(act.__name__)
                await act(stage)
        finally:
            await storage.close()
    finally:
        await side.close()


async def refused(work: Awaitable[object]) -> None:
    """Work that the store must refuse."""
    with suppress(PosthornError):
        await work
        raise AssertionError("that was not refused")


async def directory(stage: Play) -> None:
    people = stage.storage.directory
    for domain in ("example.org", "example.com"):
        await people.add_domain(domain)
    await people.add_domain("example.org", idempotent=True)
    await refused(people.add_domain("example.org"))
    stage.ann = (await people.add_account("ann@example.org", "secret", "Ann", 50_000_000)).id
    stage.bob = (await people.add_accounts([("bob@example.org", "secret"), ("eve@example.com", "other")]))[0].id
    for statement in TAME:
        await stage.side.execute(statement)
    await refused(people.add_account("ann@example.org", None))
    await refused(people.add_account("ann@example.net", None))
    await people.add_alias("both@example.org", "ann@example.org")
    await people.add_alias("both@example.org", "bob@example.org")
    await people.add_alias("@example.com", "eve@example.com")
    await refused(people.add_alias("bob@example.org", "ann@example.org"))
    await stage.storage.recipients.find(
        ["ann+x@example.org", "both@example.org", "any@example.com", "none@example.org"]
    )
    await people.authenticate("ann@example.org", "secret")
    await refused(people.authenticate("ann@example.org", "wrong"))
    await people.set_password("bob@example.org", "another")
    await people.may_send_as(stage.ann, "both@example.org")
    await people.may_send_as(stage.ann, "eve@example.com")
    await people.list_accounts()
    await people.account(stage.ann)
    await people.is_local_domain("example.org")
    made = await people.put_identity(stage.ann, Identity(0, "Ann", "ann@example.org", text_signature="--"))
    await people.put_identity(stage.ann, replace(made, name="Annie"))
    await people.identities(stage.ann)
    await people.delete_identity(stage.ann, made.id)
    await refused(people.delete_identity(stage.ann, made.id))


async def mailboxes(stage: Play) -> None:
    mail = stage.storage.mail
    stage.boxes = {box.role: box for box in await mail.mailboxes(stage.ann)}
    work = await mail.create_mailbox(stage.ann, "Work")
    inner = await mail.create_mailbox(stage.ann, "Inner", work.id, subscribed=False, sort_order=3)
    await refused(mail.create_mailbox(stage.ann, "Work"))
    await mail.update_mailbox(stage.ann, inner.id, name="Outer", parent=0, subscribed=True)
    await mail.update_mailbox(stage.ann, work.id, parent=inner.id)
    await refused(mail.delete_mailbox(stage.ann, inner.id, remove_messages=True))
    await mail.delete_mailbox(stage.ann, work.id, remove_messages=False)
    await mail.mailbox(stage.ann, inner.id)
    await mail.mailbox_modseqs(stage.ann)
    await mail.changes(stage.ann, ChangeKind.MAILBOX, Modseq(1))


async def delivery(stage: Play) -> None:
    mail, ann, bob = stage.storage.mail, stage.ann, stage.bob
    first = message(ann, "one", delivery=1, dedupe=b"digest-1")
    stage.ids = [found.message for found in await mail.deliver([first, message(bob, "one", delivery=1)])]
    await mail.deliver(first)
    await mail.deliver(message(ann, "two", references=("one@example.net",), delivery=2, dedupe=b"digest-2"))
    other = [NewRecipient("eve@example.net", "example.net"), NewRecipient("eva@example.com", "example.com")]
    queued = NewQueueMessage("ann@example.org", inline(b"queued"), other, account=ann, delivery_id=UUID(int=3))
    await mail.deliver([message(ann, "three", delivery=3)], [queued])
    await mail.append([
        message(ann, "four", stage.inbox, stage.trash, flags=Flags(SEEN, frozenset({"work", "$label1"}))),
        message(ann, "a five", stage.inbox, flags=Flags(SEEN | FLAGGED)),
        message(ann, "six", stage.trash, subject="Other"),
        message(bob, "seven"),
    ])  # fmt: skip
    # Ties two threads together.
    await mail.deliver(message(ann, "x", delivery=4, subject="Merged"))
    await mail.deliver(message(ann, "y", delivery=5, subject="Merged"))
    await mail.deliver(message(ann, "z", references=("x@example.net", "y@example.net"), delivery=6, subject="Merged"))
    await refused(mail.append([message(ann, "lost", MailboxId(999_999))]))
    await refused(mail.append([message(AccountId(999_999), "lost")]))
    await refused(mail.append([replace(first, summary=replace(first.summary, size=60_000_000), delivery_id=None,
                                       dedupe=None)]))  # fmt: skip


async def flags(stage: Play) -> None:
    mail, ann, inbox = stage.storage.mail, stage.ann, stage.inbox
    await mail.set_flags(ann, inbox, [1, 2, 3], op="add", system=SEEN, keywords=frozenset({"later"}))
    await mail.set_flags(ann, inbox, [1, 2], op="remove", system=SEEN, keywords=frozenset({"later"}))
    await mail.set_flags(ann, inbox, [2, 4], op="replace", system=FLAGGED | DELETED)
    await mail.set_flags(ann, inbox, [1, 2, 3], op="add", system=SEEN, unchanged_since=Modseq(12))
    view = await mail.view(ann, inbox)
    await mail.update_messages(
        ann,
        [
            MessageUpdate(MessageId(stage.ids[0]), add_flags=Flags(FLAGGED, frozenset({"todo"}))),
            MessageUpdate(MessageId(stage.ids[0] + 2), mailboxes=frozenset({stage.trash, inbox})),
            MessageUpdate(MessageId(999_999), flags=NO_FLAGS),
        ],
    )
    await mail.view(ann, inbox, view.modseq)
    await refused(mail.set_flags(ann, MailboxId(999_999), [1], op="add", system=SEEN))


async def moving(stage: Play) -> None:
    mail, ann, inbox = stage.storage.mail, stage.ann, stage.inbox
    archive = stage.boxes[Role.ARCHIVE].id
    await mail.copy(ann, inbox, [1, 3], archive)
    await mail.copy(ann, inbox, [1], archive)
    await mail.move(ann, inbox, [3], archive)
    await mail.move(ann, archive, [1], inbox)
    await refused(mail.copy(ann, inbox, [1], MailboxId(999_999)))
    await mail.rename_inbox(stage.bob, "Old")


async def reading(stage: Play) -> None:
    mail, ann, inbox = stage.storage.mail, stage.ann, stage.inbox
    every = MessageFields(255)
    await mail.entries(ann, inbox)
    await mail.entries(ann, inbox, Modseq(12))
    await mail.snapshot(ann, inbox)
    await mail.messages(ann, [*stage.ids, MessageId(999_999)], every)
    await mail.messages(ann, stage.ids, MessageFields.NONE)
    await mail.messages_by_uid(ann, inbox, [1, 2, 3, 99], every)
    await mail.messages_by_uid(ann, inbox, [1], MessageFields.ENVELOPE)
    for _ in range(2):
        await mail.take_recent(ann, inbox)
    await mail.modseqs([ann, stage.bob, AccountId(999_999)])
    await mail.quota(ann)
    await mail.threads(ann, [ThreadId(number) for number in range(1, 20)])
    await mail.thread_counts(ann)


async def search(stage: Play) -> None:
    mail, ann, inbox = stage.storage.mail, stage.ann, stage.inbox
    conditions = (
        And(()), Or(()), Uids(((1, 2), (4, 9))), HasFlags(Flags(SEEN, frozenset({"later"}))), HasAttachment(),
        And((Contains(TextField.SUBJECT, "hello"), Not(Contains(TextField.BODY, "two")))),
        Or((Contains(TextField.FROM, "bob"), Contains(TextField.TO, "zoe"), Contains(TextField.TEXT, "fox"))),
        Contains(TextField.EVERYWHERE, "quick"), Header("subject", "merged"), Header("x-none", ""),
        Received(THEN, FAR), Sent(before=THEN), Size(larger=1003), Size(smaller=1004), ModseqFrom(Modseq(10)),
    )  # fmt: skip
    for condition in conditions:
        await mail.search(ann, SearchQuery(condition, mailbox=inbox))
    overall = (
        InMailbox(inbox), InOtherThan((inbox,)), InThread(ThreadId(stage.ids[0])), MessageIds(tuple(stage.ids)),
        ThreadHasFlags(Flags(SEEN), every=True), ThreadHasFlags(Flags(SEEN), every=False), HasFlags(Flags(FLAGGED)),
    )  # fmt: skip
    for overall_condition in overall:
        await mail.search(ann, SearchQuery(overall_condition))
    for key in SortKey:
        sort = Sort(key, flags=Flags(SEEN)) if key.value.endswith("flags") else Sort(key)
        await mail.search(ann, SearchQuery(And(()), sort=(sort,)))
    newest = (Sort(SortKey.RECEIVED, descending=True), Sort(SortKey.SIZE))
    await mail.search(ann, SearchQuery(And(()), sort=newest, offset=1, limit=2, collapse_threads=True))
    await mail.search(ann, SearchQuery(And(()), mailbox=inbox, sort=newest, offset=1, limit=2))


async def groupware(stage: Play) -> None:
    store, ann = stage.storage.groupware, stage.ann
    made = await store.create_collection(
        ann, CollectionKind.CALENDAR, "work", "Work", color="#ff0000", properties={"{DAV:}x": "<x/>"}
    )
    calendar = await store.collection(ann, CollectionKind.CALENDAR, "default")
    before = Modseq(calendar.modseq)
    for name in ("a", "b"):
        item = NewItem(f"{name}.ics", name, "text/calendar", f"BEGIN {name}".encode(), "VEVENT", THEN, FAR)
        put = await store.put_item(ann, calendar.id, item)
        await store.put_item(ann, calendar.id, item)
        await store.put_item(ann, calendar.id, replace(item, content=b"BEGIN more"), if_match=put.etag)
        await refused(store.put_item(ann, calendar.id, item, if_none_match=True))
    await refused(store.put_item(ann, calendar.id, NewItem("c.ics", "a", "text/calendar", b"same uid")))
    await store.copy_item(ann, calendar.id, "a.ics", made.id, "copy.ics")
    await store.move_item(ann, calendar.id, "b.ics", made.id, "moved.ics")
    await store.items(ann, calendar.id)
    await store.items(ann, made.id, component="VEVENT", time_range=(THEN, FAR), with_content=False, limit=5)
    await store.items(ann, made.id, names=["copy.ics"], since=before)
    await store.delete_item(ann, made.id, "copy.ics")
    await store.removed(ann, calendar.id, before)
    await store.update_collection(ann, made.id, name="play", description="Play")
    await store.delete_collection(ann, made.id)
    await store.collections(ann)
    await stage.storage.mail.changes(ann, ChangeKind.CALENDAR_EVENT, before)


async def expunging(stage: Play) -> None:
    mail, ann, inbox = stage.storage.mail, stage.ann, stage.inbox
    before = await mail.state(ann)
    await mail.expunge(ann, inbox, only_deleted=True)
    await mail.expunge(ann, inbox, [1], only_deleted=False)
    found = await mail.search(ann, SearchQuery(InMailbox(stage.trash)))
    await mail.destroy_messages(ann, [*found.ids[:1], MessageId(999_999)])
    await mail.expunged(ann, inbox, before)
    for kind in (ChangeKind.EMAIL, ChangeKind.MAILBOX, ChangeKind.THREAD):
        await mail.changes(ann, kind, before)
        await mail.changes(ann, kind, Modseq(1), 5)
    await refused(mail.changes(ann, ChangeKind.EMAIL, Modseq(999_999)))
    extra = await mail.create_mailbox(ann, "Gone")
    await mail.append([message(ann, "in a box that goes", extra.id)])
    await mail.delete_mailbox(ann, extra.id, remove_messages=True)


async def leases(stage: Play) -> None:
    store, nodes = stage.storage.leases, stage.storage.nodes
    held = await store.acquire(["roles/purge", "roles/x"], "me", HOUR)
    await store.acquire(["roles/x"], "other", HOUR)
    await store.renew(held, "me", HOUR)
    await store.release({"roles/x": held["roles/x"]}, "me")
    await store.acquire(["roles/x"], "other", HOUR)
    await store.renew(held, "me", HOUR)
    await store.holders("roles/")
    node = await nodes.claim_node(None, "token", HOUR)
    await nodes.claim_node(NodeId(7), "other token", HOUR)
    await refused(nodes.claim_node(node, "a third", HOUR))
    process = Process(node, "imap", "boot-1", "host", "", "ready", {"port": 1}, 0.5, THEN, THEN, live=True)
    await nodes.beat(process, "token", HOUR)
    await nodes.announce("boot-1", {"peer": "127.0.0.1:1"})
    await nodes.beat(process, "token", HOUR)
    await nodes.all()
    await nodes.leave("boot-1")


async def queueing(stage: Play) -> None:
    queue = stage.storage.queue
    shard = queue.shard_of("example.net")
    key = f"queue/{shard}"
    epoch = (await stage.storage.leases.acquire([key], "me", HOUR))[key]
    content = inline(b"queued")
    several = [NewRecipient(f"{n}@example.net", "example.net", "FAILURE", "rfc822;x") for n in range(4)]
    number = await queue.enqueue(NewQueueMessage("ann@example.org", content, several, ret="HDRS", envid="e"))
    await queue.enqueue(NewQueueMessage("", content, several[:1], hold_until=FAR))
    await queue.enqueue(NewQueueMessage("ann@example.org", content, several[:1], delivery_id=UUID(int=3)))
    due = await queue.claim(shard, epoch, 3)
    due += await queue.claim(shard, epoch, 10, exclude=[row.id for row in due])
    started = await queue.start_attempts([row.id for row in due], shard, epoch)
    states = (RecipientState.DELIVERED, RecipientState.FAILED, RecipientState.WAITING)
    outcomes = [
        Outcome(row, epoch, state, "250 ok", "2.0.0", "mx [192.0.2.1]:25", THEN if state == 0 else None, "TLSv1.3")
        for row, state in zip(sorted(started), states, strict=False)
    ]
    bounce = NewQueueMessage("", inline(b"bounce"), [NewRecipient("ann@example.com", "example.com")])
    local = message(stage.ann, "bounce", delivery=7)
    await queue.finish(outcomes, shard, [bounce, local])
    await queue.finish(outcomes, shard)
    # The rest is in doubt for the next owner.
    await stage.storage.leases.release({key: epoch}, "me")
    later = (await stage.storage.leases.acquire([key], "other", HOUR))[key]
    await stage.side.execute("UPDATE queue_recipient SET since = now() - interval '2 hours' WHERE state = 1")
    again = await queue.claim(shard, later, 10)
    await queue.start_attempts([row.id for row in again], shard, epoch)
    await queue.start_attempts([row.id for row in again], shard, later)
    await queue.finish([Outcome(row.id, later, RecipientState.DELIVERED, "ok", "2.0.0", "") for row in again], shard)
    await queue.next_due(shard)
    await queue.depth()
    await queue.depth_by_shard()
    for wanted in (QueueFilter(), QueueFilter(done=True, sender="ann", recipient="1@", site="example.net"),
                   QueueFilter(before=2, state=RecipientState.WAITING, account=stage.ann)):  # fmt: skip
        await queue.messages(wanted, 10)
    await queue.show(number)
    await queue.time_line(number)
    await queue.retry_now(number)
    await queue.cancel(number)


async def submissions(stage: Play) -> None:
    store = stage.storage.submissions
    new = NewSubmission(stage.ann, 1, MessageId(stage.ids[0]), ThreadId(stage.ids[0]), {"mailFrom": {"email": "a"}})
    outgoing = NewQueueMessage(
        "ann@example.org", inline(b"submitted"), [NewRecipient("x@example.net", "example.net")], account=stage.ann
    )
    made, _ = await store.submit(new, {"bob@example.org": [message(stage.bob, "submitted")]}, outgoing)
    await store.all(stage.ann)
    await store.all(stage.ann, [made.id])
    await store.destroy(stage.ann, [made.id])


async def blobs(stage: Play) -> None:
    store, ann = await stage.storage.blobs.of(stage.ann), stage.ann
    small = await store.upload(ann, b"an upload", "text/plain")
    big = await store.upload(ann, large("one"))
    await store.upload(ann, large("one"))
    await store.upload(stage.bob, large("two"))
    await store.read(small)
    await store.read_range(big, 5, 10)
    await store.may_read(ann, big)
    await store.may_read(stage.bob, big)
    await refused(store.read(BlobKey(bytes(32))))
    await store.warm([small, BlobKey(hashlib.sha256(b"queued").digest())])


async def checking(stage: Play) -> None:
    check = stage.storage.check
    await check.count(content=True)
    async for step in check.accounts():
        assert not step.findings, step.findings
    await check.queue()
    async for step in check.blobs(content=True):
        assert not step.findings, step.findings


async def purging(stage: Play) -> None:
    purge = stage.storage.purge
    epoch = Epoch((await stage.storage.leases.acquire(["roles/purge"], "me", HOUR))["roles/purge"])
    old = (
        "UPDATE change_log SET at = now() - interval '2 days' WHERE modseq < 8",
        "UPDATE delivery_seen SET at = now() - interval '9 days' WHERE account_id = 1",
        "UPDATE blob_ref SET expires_at = now() - interval '1 hour' WHERE expires_at IS NOT NULL",
        "UPDATE queue_message SET done_at = done_at - interval '2 days'",
        "UPDATE process SET seen_at = now() - interval '5 days'",
    )
    for statement in old:
        await stage.side.execute(statement)
    await purge.purge_changes(epoch, timedelta(days=1), 1000)
    await purge.purge_changes(Epoch(epoch + 1), timedelta(days=1), 1000)
    await refused(stage.storage.mail.changes(stage.ann, ChangeKind.EMAIL, Modseq(1)))
    await purge.purge_dedupe(100)
    await purge.purge_uploads(100)
    await purge.purge_queue_done(100)
    await purge.purge_processes(100)
    await stage.side.execute("UPDATE blob SET touched_at = touched_at - interval '2 days'")
    while await purge.purge_blobs(epoch, 100):
        pass
    await purge.purge_accounts(100)


async def removing(stage: Play) -> None:
    people = stage.storage.directory
    await people.reset_account("bob@example.org")
    await people.delete_account("ann@example.org")
    await refused(people.find_account("ann@example.org"))
    await stage.storage.mail.mailboxes(stage.bob)
    await stage.storage.purge.purge_accounts(100)


ACTS: tuple[Callable[[Play], Awaitable[None]], ...] = (
    directory, mailboxes, delivery, flags, moving, reading, search, groupware, expunging, leases, queueing, submissions,
    blobs, checking, purging, removing,
)  # fmt: skip
