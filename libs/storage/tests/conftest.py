"""Fixtures of the mail and groupware stores' tests: messages made by hand, and the sums that must always be right."""

import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from posthorn_model.events import Changed
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.groupware import CollectionKind
from posthorn_model.ids import AccountId, BlobKey, Epoch, MailboxId
from posthorn_model.mail import MessageSummary, NewMessage, PreparedBlob, Role
from posthorn_storage import FsSettings, PlacementRules, ShardRule, ShardSettings, Storage, StorageSettings
from posthorn_storage.check import Check
from posthorn_storage.groupware import NewItem
from posthorn_storage.mail_store import MailStore
from posthorn_storage.purge import PURGE_LEASE
from posthorn_storage.shards import shards
from posthorn_storage.shards.moving import moves
from posthorn_storage.shards.registry import register

if TYPE_CHECKING:
    from posthorn_testkit.databases import Databases

MakeMessage = Callable[..., NewMessage]


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    """The test kit's, for a machine that may stand still: nobody is dead for that."""
    return replace(storage_settings, failure_after=600.0)


@pytest_asyncio.fixture
async def storage(storage: Storage, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    """The test kit's, and after the test everything is removed as it would be in life: nothing may be left."""
    yield storage
    if request.node.get_closest_marker("leaves_rows") is None:
        assert await left_over(storage, tmp_path / "blobs") == {}


def files(folder: Path) -> list[Path]:
    """Every file in a folder, however deep."""
    return [path for path in folder.rglob("*") if path.is_file()]


FIXED = frozenset(
    {
        "alembic_version",
        "blob_store",
        "cluster_setting",
        "dkim_key",
        "distribution",
        "distribution_member",
        "domain",
        "lease",
        "process",
        "role_job",
        "role_tenure",
        "role_wish",
        "shard",
        "vapid_key",
    }
)
"""What is no account's, and stays."""
SHORT_LIVED = frozenset({"lookup_counter", "lookup_limit", "lookup_set", "lookup_value"})
"""What ends by its own time."""


async def left_over(storage: Storage, objects: Path) -> dict[str, int]:
    """Remove accounts, what is queued, and what nothing refers to any more; returns the rows and objects left."""
    database = storage._database
    for account in await storage.directory.list_accounts():
        await storage.directory.delete_account(account.address)
    # Nobody is going to end what is under way, and uploads would have another day.
    await database.execute("UPDATE queue_recipient SET state = 0 WHERE state = 1")
    await database.execute("UPDATE blob_ref SET expires_at = now() - interval '1 s' WHERE expires_at IS NOT NULL")
    for message in await storage.queue.messages(limit=1000):
        await storage.queue.cancel(message.id)
    purge, now = storage.purge, timedelta(0)
    epoch = (await storage.leases.acquire([PURGE_LEASE], "the end of the test", 60)).get(PURGE_LEASE, Epoch(0))
    storage.blob_upkeep._grace = 0.0
    steps = [
        lambda: purge.purge_accounts(1000),
        lambda: purge.purge_queue_done(1000, keep=now),
        lambda: purge.purge_uploads(1000),
        lambda: purge.purge_shares(1000, keep=now),
        lambda: purge.purge_blobs(epoch, 1000),
    ]
    for step in steps:
        while await step():
            pass
    tables = await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    names = {row[0] for row in tables} - FIXED - SHORT_LIVED
    counts = {name: await database.fetchval(f'SELECT count(*) FROM "{name}"') for name in sorted(names)}
    counts["objects"] = len(files(objects))
    return {name: count for name, count in counts.items() if count}


@pytest.fixture
def mail(storage: Storage) -> MailStore:
    """The mail store of the test's database."""
    return storage.mail


@pytest.fixture
def new_message() -> MakeMessage:
    """`new_message(account, mailbox, ..., subject=..., text=...)`: a message with a small inline blob."""

    def make(
        account: int,
        *mailboxes: int,
        subject: str = "Hello",
        message_id: str | None = None,
        references: tuple[str, ...] = (),
        text: str = "some words",
        from_: str = "Bob <bob@example.net>",
        to: str = "Ann <ann@example.org>",
        size: int = 1000,
        flags: SystemFlag = SystemFlag.NONE,
        keywords: frozenset[str] = frozenset(),
        sent_at: datetime | None = None,
        has_attachment: bool = False,
        delivery_id: UUID | None = None,
        received_at: datetime | None = None,
        dedupe: bytes | None = None,
        delivered: bool = False,
    ) -> NewMessage:
        content = f"{subject}|{message_id}|{references}|{text}".encode("utf-8", "replace")
        base = subject.removeprefix("Re: ")
        headers = f"From: {from_}\r\nTo: {to}\r\nSubject: {subject}\r\n"
        listing = {"from": [_address(from_)], "to": [_address(to)]}
        summary = MessageSummary(
            size=size,
            message_id=message_id,
            in_reply_to=references[-1:],
            references=references,
            subject=subject,
            base_subject=base,
            sent_at=sent_at,
            preview=text[:256],
            has_attachment=has_attachment,
            envelope=b'("envelope")',
            body_structure=b'("text" "plain")',
            body=b'("text")',
            structure=b"{}",
            listing=_json(listing),
            headers=headers.encode("utf-8", "replace"),
            search_text=text,
        )
        blob = PreparedBlob(BlobKey(hashlib.sha256(content).digest()), len(content), content, 0)
        return NewMessage(
            AccountId(account),
            [MailboxId(mailbox) for mailbox in mailboxes],
            summary,
            blob,
            Flags(flags, keywords),
            received_at or datetime(2026, 1, 1, tzinfo=UTC),
            delivery_id,
            dedupe,
            delivered,
        )

    return make


@pytest.fixture
def heard(storage: Storage) -> Iterator[list[Changed]]:
    """What the store told after its commits."""
    events: list[Changed] = []
    storage.on_change = events.append
    yield events
    storage.on_change = None


@pytest.fixture
def check_sums(storage: Storage) -> Callable[[], Awaitable[None]]:
    """`await check_sums()`: every rule of the checker holds for every account, what they share, and blobs."""

    async def check() -> None:
        found = [finding async for step in storage.check.accounts() for finding in step.findings]
        found += (await storage.check.queue()).findings
        found += [finding async for step in storage.check.references() for finding in step.findings]
        found += [finding async for step in storage.check.blobs(content=True) for finding in step.findings]
        assert found == []

    return check


def _address(text: str) -> dict[str, Any]:
    name, _, email = text.rpartition(" <")
    return {"name": name or None, "email": email.rstrip(">")}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


RULES = PlacementRules(
    (
        ShardRule("east", first="a", last="m"),
        ShardRule("west", pins=frozenset({"zoe@example.org"}), first="n", last="p"),
    )
)


@pytest.fixture
def settings(databases: "Databases", tmp_path: Path) -> Iterator[StorageSettings]:
    """A home and two shards: names from a to m live on one, n to p (and zoe) on the other."""
    with databases.fresh() as home, databases.fresh() as east, databases.fresh() as west:
        yield StorageSettings(
            dsn=home,
            blobs=FsSettings(tmp_path / "blobs"),
            pool_size=4,
            acquire_timeout=60.0,
            shards=(ShardSettings("east", east), ShardSettings("west", west)),
            placement=RULES,
        )


@pytest_asyncio.fixture
async def sharded(settings: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Storage]:
    """The storage of `settings`, with the domain example.org."""
    # On a machine that stands still a freeze is not ended, nor do writers give up before it is over.
    monkeypatch.setattr(moves, "FREEZE_SECONDS", 200.0)
    monkeypatch.setattr(shards, "PAUSES", (*shards.PAUSES, *[1.0] * 200))
    await register(settings)
    opened = await Storage.open(settings)
    await opened.directory.add_domain("example.org")
    try:
        yield opened
    finally:
        await opened.close()


@pytest_asyncio.fixture
async def full_ann(sharded: Storage, new_message: MakeMessage) -> AccountId:
    """An account on the shard "east" that has something in every table that moves."""
    ann = (await sharded.directory.add_account("ann@example.org", "a password")).id
    boxes = await sharded.mail.mailboxes(ann)
    inbox, archive = (next(box.id for box in boxes if box.role is role) for role in (Role.INBOX, Role.ARCHIVE))
    large = await sharded.blobs.prepare(os.urandom(60_000), accounts=[ann])
    await sharded.mail.append([replace(new_message(ann, inbox, subject="large"), blob=large)])
    for number in range(30):
        references = (f"<{number - 1}@x>",) if number % 3 else ()
        new = new_message(ann, subject="Re: talk", message_id=f"<{number}@x>", references=references, text=str(number))
        await sharded.mail.deliver(replace(new, delivery_id=uuid4(), dedupe=os.urandom(32)))
    uids = [entry.uid for entry in await sharded.mail.entries(ann, inbox)]
    await sharded.mail.set_flags(ann, inbox, uids[::2], op="add", system=SystemFlag.SEEN, keywords=frozenset({"k"}))
    await sharded.mail.copy(ann, inbox, uids[:5], archive)
    await sharded.mail.move(ann, inbox, uids[5:8], archive)
    await sharded.mail.expunge(ann, inbox, uids[8:10], only_deleted=False)
    await sharded.mail.create_mailbox(ann, "Sub", inbox)
    calendar = (await sharded.groupware.collections(ann, CollectionKind.CALENDAR))[0]
    await sharded.groupware.put_item(ann, calendar.id, NewItem("a.ics", "a", "text/calendar", b"BEGIN:VCALENDAR"))
    await sharded.blobs.upload(ann, os.urandom(40_000), "image/png")
    await sharded.blobs.upload(ann, b"small")
    return ann


@pytest.fixture
def check_shards() -> Callable[[Storage], Awaitable[None]]:
    """`await check_shards(storage)`: every rule of the checker holds for the accounts and blobs of every shard."""

    async def check(storage: Storage) -> None:
        for shard in storage.shards:
            looked = Check(shard.database, shard.blobs.stores, home=shard.is_home)
            found = [finding async for step in looked.accounts() for finding in step.findings]
            found += [finding async for step in looked.blobs(content=True) for finding in step.findings]
            assert found == []

    return check
