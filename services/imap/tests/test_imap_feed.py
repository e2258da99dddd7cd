"""The shared feed of a mailbox on the real store: one read for many, nothing revived, nothing lost behind the log."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from posthorn_imap.feed import Feed
from posthorn_imap.logins import Logins
from posthorn_imap.memory import Budget
from posthorn_imap.places import Place
from posthorn_mail_format import summarize
from posthorn_model.errors import AuthenticationFailed, MailboxNotFound, Overloaded
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import AccountId, MailboxId, Modseq
from posthorn_model.mail import NewMessage, Role
from posthorn_storage import Storage
from posthorn_storage.purge import PURGE_LEASE


@dataclass(eq=False)
class Heard:
    new: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    deleted: bool = False

    def happened(self, *, new: Sequence[int] = (), changed: Iterable[int] = (), gone: Iterable[int] = ()) -> None:
        self.new += new
        self.changed += changed
        self.gone += gone

    def looked(self) -> None:
        pass

    def vanished(self) -> None:
        self.deleted = True


async def fill(storage: Storage, account: AccountId, mailbox: MailboxId, count: int) -> None:
    octets = b"Subject: x\r\n\r\ny\r\n"
    blob = await storage.blobs.prepare(octets)
    await storage.mail.append([NewMessage(account, [mailbox], summarize(octets), blob) for _ in range(count)])


async def mailbox_of(storage: Storage, account: AccountId, role: Role) -> MailboxId:
    return next(box.id for box in await storage.mail.mailboxes(account) if box.role is role)


async def purge_log(storage: Storage) -> None:
    """Put everything so far behind the horizon of the change log."""
    held = await storage.leases.acquire([PURGE_LEASE], "test", 60)
    await storage.purge.purge_changes(held[PURGE_LEASE], timedelta(0), 10_000)


@pytest.fixture
async def inbox(storage: Storage, account: Any) -> tuple[AccountId, MailboxId]:
    ann = await account("ann@example.org", password="secret")
    return ann.id, await mailbox_of(storage, ann.id, Role.INBOX)


@pytest.mark.postgres
async def test_it_catches_up_with_what_was_told_of(storage: Storage, inbox: tuple[AccountId, MailboxId]) -> None:
    account, mailbox = inbox
    feed, heard = Feed(storage.mail, Place(account, mailbox)), Heard()
    await feed.refresh()
    feed.listeners.add(heard)
    await fill(storage, account, mailbox, 1)
    await feed.catch_up()
    assert not heard.new, "nobody told of it"
    feed.wanted = Modseq(feed.modseq + 1)
    await asyncio.gather(feed.catch_up(), feed.catch_up())
    assert heard.new == [1]
    assert feed.modseq >= feed.wanted


@pytest.mark.postgres
async def test_what_happens_is_told_to_listeners(storage: Storage, inbox: tuple[AccountId, MailboxId]) -> None:
    account, mailbox = inbox
    await fill(storage, account, mailbox, 3)
    feed, heard = Feed(storage.mail, Place(account, mailbox)), Heard()
    await feed.refresh()
    feed.listeners.add(heard)
    assert list(feed.entries) == [1, 2, 3]
    assert list(feed.uids) == [1, 2, 3]
    await fill(storage, account, mailbox, 1)
    await storage.mail.set_flags(account, mailbox, [2], op="add", system=SystemFlag.SEEN, keywords=frozenset({"k"}))
    await storage.mail.expunge(account, mailbox, [3], only_deleted=False)
    await asyncio.gather(*(feed.refresh() for _ in range(10)))
    assert (heard.new, heard.changed, heard.gone) == ([4], [2], [3])
    assert list(feed.uids) == [1, 2, 4]
    await fill(storage, account, mailbox, 1)
    await feed.refresh()
    assert list(feed.uids) == [1, 2, 4, 5]
    assert feed.keywords == {"k"}
    assert feed.modseq == await storage.mail.state(account)


@pytest.mark.postgres
async def test_own_changes_need_no_read_and_are_told_once(storage: Storage, inbox: tuple[AccountId, MailboxId]) -> None:
    account, mailbox = inbox
    await fill(storage, account, mailbox, 3)
    feed, heard = Feed(storage.mail, Place(account, mailbox)), Heard()
    await feed.refresh()
    feed.listeners.add(heard)
    feed.flags_set(await storage.mail.set_flags(account, mailbox, [1, 2], op="add", system=SystemFlag.SEEN))
    assert feed.modseq == await storage.mail.state(account)
    feed.expunged(await storage.mail.expunge(account, mailbox, [3], only_deleted=False))
    await feed.refresh()
    assert (heard.new, heard.changed, heard.gone) == ([], [1, 2], [3])


@pytest.mark.postgres
async def test_a_read_that_began_before_an_expunge_revives_nothing(
    storage: Storage, inbox: tuple[AccountId, MailboxId]
) -> None:
    account, mailbox = inbox
    await fill(storage, account, mailbox, 2)
    feed, heard = Feed(storage.mail, Place(account, mailbox)), Heard()
    await feed.refresh()
    before = feed.modseq
    feed.listeners.add(heard)
    await storage.mail.set_flags(account, mailbox, [2], op="add", system=SystemFlag.SEEN)
    late = await storage.mail.view(account, mailbox, before)
    feed.expunged(await storage.mail.expunge(account, mailbox, [2], only_deleted=False))
    feed._take(late)
    await feed.refresh()
    assert list(feed.entries) == [1]
    assert (heard.new, heard.gone) == ([], [2])


@pytest.mark.postgres
async def test_behind_the_horizon_the_whole_mailbox_is_read_again(
    storage: Storage, inbox: tuple[AccountId, MailboxId]
) -> None:
    account, mailbox = inbox
    await fill(storage, account, mailbox, 3)
    feed, heard = Feed(storage.mail, Place(account, mailbox)), Heard()
    await feed.refresh()
    feed.listeners.add(heard)
    await storage.mail.expunge(account, mailbox, [1, 3], only_deleted=False)
    await storage.mail.set_flags(account, mailbox, [2], op="add", system=SystemFlag.SEEN)
    await fill(storage, account, mailbox, 1)
    await purge_log(storage)
    await feed.refresh()
    assert (heard.new, heard.changed, heard.gone) == ([4], [2], [1, 3])


@pytest.mark.postgres
async def test_a_deleted_mailbox_is_told(storage: Storage, inbox: tuple[AccountId, MailboxId]) -> None:
    account, _ = inbox
    made = await storage.mail.create_mailbox(account, "gone")
    feed, heard = Feed(storage.mail, Place(account, made.id)), Heard()
    await feed.refresh()
    feed.listeners.add(heard)
    await storage.mail.delete_mailbox(account, made.id, remove_messages=True)
    with pytest.raises(MailboxNotFound):
        await feed.refresh()
    assert heard.deleted


@pytest.mark.postgres
async def test_qresync_behind_the_horizon_names_all_that_is_not_there(
    storage: Storage, inbox: tuple[AccountId, MailboxId], imap_server: Any
) -> None:
    account, mailbox = inbox
    await fill(storage, account, mailbox, 9)
    server = await imap_server()
    talk = await server.play(
        """
        S: * OK ...
        C: l LOGIN ann@example.org secret
        S: l OK ...
        C: e ENABLE QRESYNC
        S*: e OK ...
        C: 1 SELECT INBOX
        S*: * OK [UIDVALIDITY {validity}] ...
        S*: * OK [HIGHESTMODSEQ {before}] ...
        S*: 1 OK ...
        """
    )
    await storage.mail.expunge(account, mailbox, [2, 3, 6, 9], only_deleted=False)
    await purge_log(storage)
    await talk.play(
        """
        C: 2 SELECT INBOX (QRESYNC ({validity} {before}))
        S*: * VANISHED (EARLIER) 2:3,6,9
        S: 2 OK ...
        C: 3 SELECT INBOX (QRESYNC ({validity} {before} 1:4,7:8))
        S*: * VANISHED (EARLIER) 2:3
        S: 3 OK ...
        C: 4 SELECT INBOX (QRESYNC ({validity} {before} 1:9 (1,2,3,4 1,4,5,7)))
        S*: * VANISHED (EARLIER) 9
        S: 4 OK ...
        C: 5 UID FETCH 5:* (UID) (CHANGEDSINCE {before} VANISHED)
        S: * VANISHED (EARLIER) 6,9
        S: 5 OK ...
        """
    )


# What all sessions of a process share


async def test_a_budget_is_shared_in_turn() -> None:
    budget = Budget(10)
    assert budget.take(6)
    assert not budget.take(5)
    order = []

    async def hold(name: str, octets: int) -> None:
        async with budget.held(octets):
            order.append(name)

    waiting = [asyncio.create_task(hold("large", 100)), asyncio.create_task(hold("small", 1))]
    await asyncio.sleep(0)
    assert order == []
    assert not budget.take(1), "who waits comes first"
    cancelled = asyncio.create_task(hold("cancelled", 1))
    await asyncio.sleep(0)
    cancelled.cancel()
    budget.give(6)
    await asyncio.gather(*waiting)
    assert order == ["large", "small"]
    assert budget.used == 0


@pytest.mark.postgres
async def test_sessions_of_an_account_are_counted(storage: Storage, account: Any) -> None:
    await account("ann@example.org", password="secret")
    logins = Logins(storage.directory, per_account=1)
    ann = await logins.log_in(b"ann@example.org", b"secret", "192.0.2.1", "imap")
    with pytest.raises(Overloaded):
        await logins.log_in(b"ann@example.org", b"secret", "192.0.2.1", "imap")
    logins.log_out(ann.id)
    assert (await logins.log_in(b"ann@example.org", b"secret", "192.0.2.1", "imap")).id == ann.id
    with pytest.raises(AuthenticationFailed):
        await logins.log_in(b"\xff", b"", "192.0.2.2", "imap")
