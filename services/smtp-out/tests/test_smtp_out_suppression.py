"""The suppression list at work: what a bounce enters, and what that does in each mode."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.ids import Epoch, QueueMessageId
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Outcome, RecipientState
from posthorn_smtp_out.suppression import is_hard
from posthorn_storage import Storage
from posthorn_storage.queue import QueuedRecipient
from posthorn_testkit.sink import Sink

Start = Callable[..., Awaitable[Any]]
UNKNOWN = "550 5.1.1 no such user"


@pytest_asyncio.fixture
async def emptied(storage: Storage) -> AsyncIterator[None]:
    yield
    await storage._database.execute("DELETE FROM queue_suppression")


async def sent(storage: Storage, *addresses: str, sender: str = "ann@example.org") -> list[QueuedRecipient]:
    """Queue a message and wait for its end."""
    blob = await storage.blobs.prepare(b"Message-ID: <p@example.org>\r\n\r\ntext\r\n")
    recipients = [NewRecipient(address, address.rpartition("@")[2], "NEVER") for address in addresses]
    number: QueueMessageId = await storage.queue.enqueue(NewQueueMessage(sender, blob, recipients))
    async with asyncio.timeout(90):
        while (message := await storage.queue.show(number)).done_at is None:  # noqa: ASYNC110  a bounded poll
            await asyncio.sleep(0.01)
    return list(message.recipients)


async def until_entered(storage: Storage, count: int) -> list[str]:
    """A bounce is entered right after its outcome is written."""
    async with asyncio.timeout(90):
        while len(found := await storage.queue.suppressions.all()) < count:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)
    return [f"{entry.address} {entry.scope}" for entry in found]


async def until_shown(worker: Any, figure: str) -> None:
    """What is entered is counted after that."""
    async with asyncio.timeout(90):
        while figure not in worker.metrics.exposition().decode():  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


@pytest.mark.postgres
async def test_mail_to_an_unknown_user_fails_at_once_from_then_on(
    storage: Storage, sink: Sink, start: Start, emptied: None
) -> None:
    worker = await start(suppression={"mode": "enforce"})
    sink.once("RCPT", UNKNOWN)
    await sent(storage, "bob@example.net")
    assert await until_entered(storage, 1) == ["bob@example.net example.org"]
    bob, eve = await sent(storage, "bob@example.net", "eve@example.net")
    assert (bob.state, eve.state) == (RecipientState.FAILED, RecipientState.DELIVERED)
    assert bob.reply.startswith("550 5.1.1 Suppressed since ")
    assert UNKNOWN in bob.reply
    assert [mail.recipients for mail in sink.mails] == [("eve@example.net",)]
    (other,) = await sent(storage, "bob@example.net", sender="x@elsewhere.example")
    assert other.state is RecipientState.DELIVERED, "the mail of other domains is none of its business"
    (report,) = await sent(storage, "bob@example.net", sender="")
    assert report.state is RecipientState.DELIVERED
    assert 'posthorn_smtp_out_suppressed_total{what="refused"} 1.0' in worker.metrics.exposition().decode()
    await until_shown(worker, 'posthorn_smtp_out_suppressed_total{what="entered"} 1.0')


@pytest.mark.postgres
@pytest.mark.parametrize(("mode", "entered"), [("observe", 1), ("off", 0)])
async def test_unless_it_is_enforced_everything_is_tried(
    storage: Storage, sink: Sink, start: Start, emptied: None, mode: str, entered: int
) -> None:
    worker = await start(suppression={"mode": mode, "per": "sender"})
    sink.once("RCPT", UNKNOWN)
    await sent(storage, "bob@example.net")
    assert await until_entered(storage, entered) == ["bob@example.net ann@example.org"] * entered
    (bob,) = await sent(storage, "bob@example.net")
    assert bob.state is RecipientState.DELIVERED
    shown = worker.metrics.exposition().decode()
    assert ('posthorn_smtp_out_suppressed_total{what="observed"} 1.0' in shown) is bool(entered)


@pytest.mark.parametrize(
    ("state", "kind", "remote", "status", "hard"),
    [
        (RecipientState.FAILED, "unknown-user", "mx", "5.1.1", True),
        (RecipientState.FAILED, "unknown-user", "", "5.1.1", False),
        (RecipientState.FAILED, "unknown-user", "mx", "5.4.7", False),
        (RecipientState.FAILED, "mailbox-full", "mx", "5.2.2", False),
        (RecipientState.WAITING, "unknown-user", "mx", "4.1.1", False),
        (RecipientState.DELIVERED, "", "mx", "2.0.0", False),
    ],
    ids=["hard", "ours", "expired", "full", "temporary", "delivered"],
)
def test_what_counts_as_a_hard_bounce(
    state: RecipientState, kind: str, remote: str, status: str, *, hard: bool
) -> None:
    assert is_hard(Outcome(1, Epoch(1), state, "", status, remote, reply_class=kind)) is hard
