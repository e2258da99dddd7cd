"""Mail that reaches an account through the queue goes through its script as over SMTP, exactly once after a kill."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from posthorn_model.flags import SystemFlag
from posthorn_model.mail import Role
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.codes import LOCAL_SITE
from posthorn_storage.mail.messages import MessageFields
from posthorn_testkit.process import ServiceProcess
from posthorn_testkit.sink import Sink

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]
Run = Callable[[], AbstractAsyncContextManager[ServiceProcess]]
Account = Callable[..., Awaitable[AccountRecord]]
END_BLOCKED = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
"""
BLOCKED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
"""
WAITING, DELIVERED, FAILED = RecipientState.WAITING, RecipientState.DELIVERED, RecipientState.FAILED


async def use(storage: Storage, account: AccountRecord, script: str, *extensions: str) -> None:
    names = ", ".join(f'"{name}"' for name in extensions)
    await storage.sieve.put(account.id, "main", f"require [{names}];\r\n{script}")
    await storage.sieve.activate(account.id, "main")


async def enqueue(storage: Storage, *to: str, number: int = 1, sender: str = "eve@example.net") -> dict[str, int]:
    """Queue a message for mailboxes; returns its recipients' rows by address."""
    fields = f"From: {sender}\r\nTo: {', '.join(to)}\r\nMessage-ID: <m{number}@example.net>\r\n"
    blob = await storage.blobs.prepare(f"{fields}\r\nthe body\r\n".encode(), queued=True)
    recipients = [NewRecipient(each, LOCAL_SITE) for each in to]
    message = await storage.queue.enqueue(NewQueueMessage(sender, blob, recipients))
    return {each.address: each.id for each in (await storage.queue.show(message)).recipients}


async def states(storage: Storage, rows: dict[str, int]) -> dict[str, RecipientState]:
    """What became of them, by address."""
    found = await storage._database.fetch(
        "SELECT address, state FROM queue_recipient WHERE id = ANY ($1::bigint[])", list(rows.values())
    )
    return {row["address"]: RecipientState(row["state"]) for row in found}


async def filed(storage: Storage, account: AccountRecord) -> dict[str, list[tuple[bytes, SystemFlag]]]:
    """Name of each mailbox that has mail, to content and flags of its messages."""
    found = {}
    for box in await storage.mail.mailboxes(account.id):
        entries = await storage.mail.entries(account.id, box.id)
        stored = await storage.mail.messages(account.id, [each.message for each in entries], MessageFields.NONE)
        if entries:
            contents = [await storage.blobs.read(account.id, each.blob) for each in stored]
            flags = [entry.flags.system for entry in entries]
            found["INBOX" if box.role is Role.INBOX else box.name] = list(zip(contents, flags, strict=True))
    return found


async def until_done(storage: Storage) -> None:
    async with asyncio.timeout(90):
        while True:
            depth = await storage.queue.depth()
            if not depth[WAITING] and not depth[RecipientState.IN_FLIGHT]:
                return
            await asyncio.sleep(0.05)


async def test_each_account_has_it_as_its_script_says(storage: Storage, sink: Sink, run: Run, account: Account) -> None:
    people = [await account(f"{name}@example.org") for name in ("ann", "bob", "cay", "dan", "fay")]
    ann, bob, cay, dan, fay = people
    await use(storage, ann, 'fileinto :create :flags "\\\\Flagged" "Lists/News"; stop;', "fileinto", "mailbox",
              "imap4flags")  # fmt: skip
    await use(storage, bob, 'redirect :copy "zoe@example.com"; vacation :subject "Away" "I am away.";', "copy",
              "vacation")  # fmt: skip
    await use(storage, cay, 'ereject "Not now, thanks.";', "ereject")
    await use(storage, dan, 'if envelope :detail "to" "x" { fileinto "Nowhere"; } else { discard; }', "fileinto",
              "envelope", "subaddress")  # fmt: skip
    await storage.distributions.put("group", "team@example.org", ["cay@example.org", "fay@example.org"])
    names = ("ann", "bob", "cay", "dan+x", "team", "dan")
    rows = await enqueue(storage, *(f"{name}@example.org" for name in names))
    async with run():
        sent = {mail.recipients[0]: mail for mail in await sink.wait(3)}
        await until_done(storage)
    ((content, flags),) = (await filed(storage, ann))["News"]
    assert content.startswith(b"Return-Path: <eve@example.net>\r\nFrom: eve@example.net\r\n")
    assert flags is SystemFlag.FLAGGED
    assert list(await filed(storage, bob)) == ["INBOX"]
    assert await filed(storage, cay) == {}
    assert sent["zoe@example.com"].sender == "eve@example.net"
    assert sent["zoe@example.com"].content.startswith(b"X-Sieve-Redirected-From: bob@example.org\r\nFrom: eve@")
    # One run for each account, by the recipient that came first; its owner reads of the mailbox that is missing.
    told, kept = sorted((one for one, _ in (await filed(storage, dan))["INBOX"]), key=lambda one: b"the body" in one)
    assert b"the body" in kept
    assert b"there is no mailbox 'Nowhere'" in told
    assert len((await filed(storage, fay))["INBOX"]) == 1
    # Cay is behind two addresses: neither of them is refused for her.
    assert await states(storage, rows) == dict.fromkeys(rows, DELIVERED)
    reports = [mail for mail in sink.mails if mail.recipients == ("eve@example.net",)]
    assert {mail.sender for mail in reports} == {""}
    assert sorted(b"Not now, thanks." in mail.content for mail in reports) == [False, True]
    assert sum(b"I am away." in mail.content for mail in reports) == 1


async def test_a_refusal_is_the_outcome_of_the_only_recipient(
    storage: Storage, sink: Sink, run: Run, account: Account
) -> None:
    ann, cay = await account("ann@example.org"), await account("cay@example.org")
    await use(storage, cay, 'reject "Not now, thanks.";', "reject")
    await use(storage, ann, 'fileinto :create "Reports";', "fileinto", "mailbox")
    rows = await enqueue(storage, "cay@example.org", sender="ann@example.org")
    async with run():
        async with asyncio.timeout(90):
            while "Reports" not in (reports := await filed(storage, ann)):  # noqa: ASYNC110  the database tells nobody
                await asyncio.sleep(0.05)
        await until_done(storage)
    assert await states(storage, rows) == {"cay@example.org": FAILED}
    assert await filed(storage, cay) == {}
    ((content, _),) = reports["Reports"]  # the report goes through the script of who sent it, as any mail
    assert b"Action: failed\r\nStatus: 5.7.1\r\n" in content
    assert b"Not now, thanks." in content
    assert sink.mails == []


async def test_members_of_a_list_have_it_through_their_scripts(
    storage: Storage, sink: Sink, run: Run, account: Account
) -> None:
    ann, _bob = await account("ann@example.org"), await account("bob@example.org")
    await use(storage, ann, 'if envelope "to" "ann@example.org" { fileinto :create "Lists"; }', "fileinto", "mailbox",
              "envelope")  # fmt: skip
    members = ["ann@example.org", "bob@example.org"]
    await storage.distributions.put("list", "news@example.org", members, owner="bob@example.org")
    await enqueue(storage, "news@example.org")
    async with run():
        await until_done(storage)
    ((content, _),) = (await filed(storage, ann))["Lists"]
    assert b"List-Id: <news.example.org>\r\n" in content


async def test_a_kill_between_the_delivery_and_its_outcome_repeats_nothing(
    storage: Storage, sink: Sink, run: Run, account: Account
) -> None:
    """The attempt delivers and cannot write its outcome, for its row is locked, until the next process may."""
    ann = await account("ann@example.org")
    script = (
        'if duplicate { fileinto :create :flags "\\\\Seen" "Again"; } fileinto :create "News"; keep;'
        'redirect :copy "zoe@example.com"; vacation "I am away.";'
    )
    await use(storage, ann, script, "duplicate", "fileinto", "mailbox", "imap4flags", "copy", "vacation")
    rows = await enqueue(storage, "ann@example.org", sender="joe@example.net")
    async with storage._database.connection() as lock, lock.transaction():
        await lock.fetch("SELECT id FROM queue_recipient WHERE id = ANY ($1::bigint[]) FOR UPDATE", [*rows.values()])
        async with run() as process:
            await sink.wait(2)
            async with asyncio.timeout(90):
                while not await storage._database.fetchval(BLOCKED):  # noqa: ASYNC110  the database tells nobody
                    await asyncio.sleep(0.05)
            await process.kill()
        await lock.fetch(END_BLOCKED)  # what the dead process asked for is not done when the lock goes
        await lock.execute("UPDATE lease SET until = now() WHERE key LIKE 'queue/%'")
    assert await states(storage, rows) == {"ann@example.org": WAITING}
    async with run():
        await until_done(storage)
    assert {name: len(messages) for name, messages in (await filed(storage, ann)).items()} == {"News": 1, "INBOX": 1}
    found = await storage._database.fetch("SELECT address FROM queue_recipient ORDER BY address")
    assert [row["address"] for row in found] == ["ann@example.org", "joe@example.net", "zoe@example.com"]
