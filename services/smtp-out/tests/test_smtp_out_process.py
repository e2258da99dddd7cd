"""smtp-out as a process of its own: settings from a file, mail to a real server, SIGTERM and kill -9."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from posthorn_model.ids import QueueMessageId
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState
from posthorn_storage import Storage
from posthorn_testkit.false_clock import false_clock
from posthorn_testkit.process import ServiceProcess
from posthorn_testkit.sink import END, Sink

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

Run = Callable[[], AbstractAsyncContextManager[ServiceProcess]]


async def enqueue(storage: Storage, number: int) -> int:
    blob = await storage.blobs.prepare(b"Message-ID: <%d@example.org>\r\n\r\ntext\r\n" % number)
    recipient = NewRecipient(f"u{number}@example.net", f"site{number % 5}.example.net")
    return await storage.queue.enqueue(NewQueueMessage("", blob, [recipient]))


async def until_done(storage: Storage) -> None:
    async with asyncio.timeout(90):
        while True:
            depth = await storage.queue.depth()
            if not depth[RecipientState.WAITING] and not depth[RecipientState.IN_FLIGHT]:
                return
            await asyncio.sleep(0.05)


async def test_a_process_sends_and_leaves_on_sigterm(storage: Storage, sink: Sink, run: Run) -> None:
    for number in range(20):
        await enqueue(storage, number)
    async with run() as process:
        await sink.wait(20, timeout=90)
        await until_done(storage)
        assert await process.end() == 0, process.story()
    held = await storage.leases.holders("queue/")
    assert not any(live for _, _, live in held.values())
    assert len(sink.mails) == 20


async def test_what_a_killed_process_left_goes_on_in_the_next(
    storage: Storage, sink: Sink, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = sink.hold(END)
    for number in range(20):
        await enqueue(storage, number)
    # Nobody could wait for the end of such leases: the next process knows that this one is dead.
    monkeypatch.setenv("POSTHORN__CLUSTER__NODE_ID", "7")
    monkeypatch.setenv("POSTHORN__CLUSTER__LEASE_TTL", "1h")
    async with run() as first:
        await asyncio.wait_for(gate.reached.wait(), 90)
        await first.kill()
    async with run():
        await until_done(storage)
    taken = [mail.recipients[0] for mail in sink.mails]
    assert set(taken) == {f"u{number}@example.net" for number in range(20)}
    assert (await storage.queue.depth())[RecipientState.DELIVERED] == 20


@pytest.mark.parametrize("ahead", ["+1h", "-1h"])
async def test_a_process_whose_clock_is_an_hour_off_sends_as_others_do(
    storage: Storage, sink: Sink, run: Run, monkeypatch: pytest.MonkeyPatch, ahead: str
) -> None:
    """Its wall clock is a false one from its first instruction; retry, pause and expiry go by the database's."""
    sink.once("RCPT", *["451 4.7.1 come back later"] * 3)
    wrong = false_clock(ahead)
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    identity = await enqueue(storage, 1)
    async with run() as process:
        for name in wrong:
            monkeypatch.delenv(name)
        off = await process.logged(lambda line: line["event"] == "this machine's clock differs from the database's")
        assert abs(off["seconds"] - (3600 if ahead == "+1h" else -3600)) < 60
        await until_done(storage)
        (recipient,) = (await storage.queue.show(QueueMessageId(identity))).recipients
        assert recipient.state is RecipientState.DELIVERED
        assert await process.end() == 0, process.story()
        assert [line["attempt"] for line in process.lines if line.get("outcome") == "deferred"] == [1, 2, 3]
