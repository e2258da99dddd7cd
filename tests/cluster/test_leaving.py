"""Draining real processes by the operator's wish: clients are told and go on elsewhere, what is under way is finished.

Each service is a node of its own on one database; nobody sends a signal.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.ids import NodeId
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState
from posthorn_storage import Storage
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, start_service
from posthorn_testkit.sink import END, Sink

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]
PATIENCE = 60
SETTINGS = local("""
[cluster]
name = "test"
heartbeat = "200ms"
failure-after = "60s"
lease-ttl = "60s"
node-id = {node}
[server]
hostname = "node{node}.example.org"
data = "{folder}/node{node}"
[server.listener.smtp]
bind = "127.0.0.1:0"
protocol = "smtp"
[server.listener.imap]
bind = "127.0.0.1:0"
protocol = "imap"
allow-plaintext-auth = true
[smtp-out]
relay = "{relay}"
poll = "100ms"
""")


@pytest_asyncio.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as started:
        yield started


Begin = Callable[[str, int], Awaitable[ServiceProcess]]


@pytest_asyncio.fixture
async def begin(postgres_dsn: str, storage: Storage, sink: Sink, tmp_path: Path) -> AsyncIterator[Begin]:
    """`await begin("imap", 3)`: a process of a service as node 3, ready."""
    started: list[ServiceProcess] = []

    async def begun(service: str, node: int) -> ServiceProcess:
        path = tmp_path / f"node{node}.toml"
        path.write_text(SETTINGS.format(folder=tmp_path, dsn=postgres_dsn, relay=sink.address, node=node))
        started.append(await start_service(f"posthorn_{service.replace('-', '_')}", path))
        await started[-1].logged(lambda line: line["event"] == "ready")
        return started[-1]

    yield begun
    for process in started:
        await process.kill()


class Client:
    """Lines to and from one server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, process: ServiceProcess, listener: str) -> "Client":
        found = cls(*await asyncio.open_connection("127.0.0.1", (await process.listening(listener))["port"]))
        await found.line()
        return found

    async def line(self) -> str:
        """The next line; "" when the server has closed."""
        async with asyncio.timeout(PATIENCE):
            return (await self._reader.readline()).decode()

    async def say(self, text: str, until: str) -> str:
        """Send a line and read up to one that starts with `until`."""
        self._writer.write(text.encode() + b"\r\n")
        while line := await self.line():
            if line.startswith(until):
                return line
        raise AssertionError(f"the connection ended before {until!r}")


async def drained(storage: Storage, node: int) -> list[str]:
    """Wish it of a process, once its heartbeats show that it lives; which services were asked."""
    async with asyncio.timeout(PATIENCE):
        while not (asked := await storage.nodes.drain([NodeId(node)])):  # noqa: ASYNC110  what others do
            await asyncio.sleep(0.05)
    return [found.service for found in asked]


async def left_with_zero(process: ServiceProcess, storage: Storage, node: int) -> None:
    """The process ends by itself, and its row says so."""
    assert (await process.logged(lambda line: line["event"] == "ending"))["reason"] == "the operator drains this node"
    assert (await process.logged(lambda line: line["event"] == "stopped"))["code"] == 0
    assert await process.end() == 0, process.story()
    assert {found.state for found in await storage.nodes.all() if found.node == node} == {"left"}


async def test_imap_clients_hear_bye_and_go_on_at_another_node(storage: Storage, account: Any, begin: Begin) -> None:
    await account("ann@example.org", "secret")
    first, second = await begin("imap", 1), await begin("imap", 2)
    idle, quiet = await Client.to(first, "imap"), await Client.to(first, "imap")
    for client in (idle, quiet):
        assert "OK" in await client.say("a login ann@example.org secret", "a ")
    await idle.say("b select inbox", "b OK")
    await idle.say("c idle", "+")
    assert await drained(storage, 1) == ["imap"]
    for client in (idle, quiet):
        assert (await client.line()).startswith("* BYE")
    assert await quiet.line() == ""
    again = await Client.to(second, "imap")
    assert "OK" in await again.say("a login ann@example.org secret", "a ")
    await left_with_zero(first, storage, 1)
    assert [found.node for found in await storage.nodes.live(PATIENCE)] == [2]


async def test_smtp_says_421_between_transactions_and_takes_what_was_begun(
    storage: Storage, account: Any, begin: Begin
) -> None:
    ann = await account("ann@example.org")
    process = await begin("smtp-in", 1)
    waiting, sending = await Client.to(process, "smtp"), await Client.to(process, "smtp")
    for client in (waiting, sending):
        await client.say("EHLO client.example.net", "250 ")
    await sending.say("MAIL FROM:<e@f.example>", "250 ")
    await sending.say("RCPT TO:<ann@example.org>", "250 ")
    await sending.say("DATA", "354 ")
    await drained(storage, 1)
    assert (await waiting.line()).startswith("421 ")
    assert (await sending.say("Message-ID: <1@f.example>\r\n\r\nthe rest\r\n.", "250 ")).startswith("250 ")
    assert (await sending.line()).startswith("421 ")
    await left_with_zero(process, storage, 1)
    assert sum(box.total for box in await storage.mail.mailboxes(ann.id)) == 1


async def test_a_delivery_under_way_is_finished_and_its_shards_are_handed_over(
    storage: Storage, sink: Sink, begin: Begin
) -> None:
    gate = sink.hold(END)
    blob = await storage.blobs.prepare(b"Message-ID: <1@example.org>\r\n\r\ntext\r\n")
    await storage.queue.enqueue(NewQueueMessage("", blob, [NewRecipient("u@example.net", "example.net")]))
    process = await begin("smtp-out", 1)
    async with asyncio.timeout(PATIENCE):
        await gate.reached.wait()
    await drained(storage, 1)
    await process.logged(lambda line: line["event"] == "ending")
    gate.open.set()
    await left_with_zero(process, storage, 1)
    assert len(sink.mails) == 1
    assert (await storage.queue.depth())[RecipientState.DELIVERED] == 1
    assert not any(live for _, _, live in (await storage.leases.holders("queue/")).values())
