"""What destinations see of processes: limits over a hand-over, a storm of 421 beside calm, too many recipients."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn_model.ids import QueueMessageId
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState
from posthorn_storage import Storage
from posthorn_testkit.dns import DnsServer
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service
from posthorn_testkit.sink import GREETING, Sink

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]
LONG = 90.0

SETTINGS = local("""
[cluster]
name = "test"
lease-ttl = "60s"
node-id = {node}
queue-shards = {shards}
secret = "a secret that all nodes share"
[server]
hostname = "out.example.org"
data = "{folder}/{node}"
drain-delay = "0s"
[resolver]
servers = ["{dns}"]
timeout = "60s"
[smtp-out]
port = {port}
poll = "100ms"
# Half of it a destination is left alone: what is counted must not grow with the time that it takes to look.
retry = ["20s"]
[smtp-out.sites."*"]
connections = 3
messages-per-connection = 4
[smtp-out.sources.first]
addresses = ["127.0.0.1"]
sender-domains = ["one.example"]
""")

Run = Callable[[int], AbstractAsyncContextManager[ServiceProcess]]


@pytest_asyncio.fixture
async def storm() -> AsyncIterator[Sink]:
    async with Sink(host="127.0.0.2") as started:
        yield started


@pytest_asyncio.fixture
async def calm(storm: Sink) -> AsyncIterator[Sink]:
    sink = Sink(host="127.0.0.3")
    sink.port = storm.port
    async with sink:
        yield sink


@pytest_asyncio.fixture
async def run(postgres_dsn: str, storage: Storage, storm: Sink, tmp_path: Path) -> AsyncIterator[Run]:
    """`async with run(1) as process` runs node 1; storm.example and calm.example have an address each."""
    async with DnsServer({"storm.example": {"A": ["127.0.0.2"]}, "calm.example": {"A": ["127.0.0.3"]}}) as dns:

        def begin(node: int) -> AbstractAsyncContextManager[ServiceProcess]:
            path = tmp_path / f"{node}.toml"
            path.write_text(
                SETTINGS.format(
                    node=node,
                    folder=tmp_path,
                    dsn=postgres_dsn,
                    dns=dns.address,
                    port=storm.port,
                    shards=storage.queue.shards,
                )
            )
            return running_service("posthorn_smtp_out", path)

        yield begin


async def enqueue(storage: Storage, site: str, count: int) -> list[QueueMessageId]:
    found = []
    for number in range(count):
        blob = await storage.blobs.prepare(b"Message-ID: <%d@%b>\r\n\r\ntext\r\n" % (number, site.encode()))
        sender = f"ann@{'one' if number % 2 else 'two'}.example"
        recipient = NewRecipient(f"u{number}@{site}", site, notify="NEVER")
        found.append(await storage.queue.enqueue(NewQueueMessage(sender, blob, [recipient])))
    return found


async def until(storage: Storage, state: RecipientState, count: int) -> None:
    async with asyncio.timeout(LONG):
        while (await storage.queue.depth())[state] != count:  # noqa: ASYNC110  another program's work
            await asyncio.sleep(0.05)


async def test_a_storm_of_421_slows_nobody_else(storage: Storage, storm: Sink, calm: Sink, run: Run) -> None:
    storm.always(GREETING, "421 4.3.2 too busy")
    refused = await enqueue(storage, "storm.example", 60)
    await enqueue(storage, "calm.example", 60)
    async with run(1):
        await calm.wait(60, LONG)
        await until(storage, RecipientState.WAITING, 60)
        async with asyncio.timeout(LONG):
            while True:
                lines = [await storage.queue.time_line(message) for message in refused]
                if all("421 4.3.2 too busy" in line[-1].reply for line in lines):
                    break
                await asyncio.sleep(0.05)
        seen = storm.connections
        kinds = [[event.kind for event in line] for line in lines]
        storm.always(GREETING, "220 well again")
        await storm.wait(60, LONG)
        await until(storage, RecipientState.DELIVERED, 120)
    # Only what was at hand when the first 421 came was tried, the rest was put off, and says why.
    assert seen <= 12, seen
    assert sum("postponed" in each for each in kinds) >= 40
    assert max(storm.most_connections, calm.most_connections) <= 3
    assert len({mail.recipients for mail in storm.mails}) == len(storm.mails) == 60


async def test_the_limit_of_connections_holds_over_a_hand_over(
    storage: Storage, storm: Sink, calm: Sink, run: Run
) -> None:
    """Two sources, few messages on each connection, and the owner leaves in the middle."""
    await enqueue(storage, "calm.example", 150)
    async with run(1) as first, run(2) as second:
        await calm.wait(20, LONG)
        assert await first.end() == 0, first.story()
        await calm.wait(150, LONG)
        await until(storage, RecipientState.DELIVERED, 150)
        assert await second.end() == 0, second.story()
    assert calm.most_connections <= 3
    assert len({mail.recipients for mail in calm.mails}) == len(calm.mails) == 150
    assert {mail.client for mail in calm.mails if mail.sender.endswith("one.example")} == {"127.0.0.1"}


async def test_recipients_beyond_what_a_transaction_takes_follow_at_once(
    storage: Storage, storm: Sink, calm: Sink, run: Run
) -> None:
    calm.once("RCPT", *["250 ok"] * 3, *["452 4.5.3 too many"] * 4)
    blob = await storage.blobs.prepare(b"Message-ID: <1@example>\r\n\r\ntext\r\n")
    recipients = [NewRecipient(f"u{number}@calm.example", "calm.example") for number in range(7)]
    message = await storage.queue.enqueue(NewQueueMessage("", blob, recipients))
    async with run(1):
        await until(storage, RecipientState.DELIVERED, 7)
        more = await storage.queue.enqueue(NewQueueMessage("", blob, recipients))
        await until(storage, RecipientState.DELIVERED, 14)
    assert [len(mail.recipients) for mail in calm.mails[:2]] == [3, 4]
    assert sorted(len(mail.recipients) for mail in calm.mails[2:]) == [1, 3, 3]
    events = [*await storage.queue.time_line(message), *await storage.queue.time_line(more)]
    assert [event.kind for event in events].count("delivered") == 14
    assert {event.attempt for event in events if event.recipient} == {1}
