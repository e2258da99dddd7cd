"""Receiving connections of a protocol made for these tests: it echoes, fails and holds on command."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog

from posthorn_node.certificate import self_signed
from posthorn_node.metrics import Metrics
from posthorn_node.settings import ListenerSettings
from posthorn_node.stream.connection import Connection, ConnectionLost, Interrupted
from posthorn_node.stream.door import Door, Full
from posthorn_node.stream.reception import Reception, ReceptionFigures, Welcome

SECONDS = 20.0


class Echo:
    """Greets with the client's address and echoes; "fail" raises, "hold" makes it deaf to a stop.

    A drain waits for "done"; a stop is told and ends it.
    """

    def __init__(self, connection: Connection, address: str) -> None:
        self._connection = connection
        self._address = address
        self._held = False
        self._drained = False

    def drain(self) -> None:
        self._drained = True

    def stop(self) -> None:
        if not self._held:
            self._connection.interrupt()

    async def run(self) -> None:
        try:
            await self._connection.send(f"hello {self._address}\n".encode(), SECONDS)
            while data := await self._connection.receive(SECONDS):
                if data == b"fail\n":
                    raise ValueError("as it was told")
                self._held = data == b"hold\n"
                await self._connection.send(data, SECONDS)
                if self._drained and data == b"done\n":
                    break
        except Interrupted:
            await self._connection.send(b"stopped\n", SECONDS)
        except ConnectionLost:
            pass
        finally:
            await self._connection.close(SECONDS)


class Stage:
    """Receptions with one door, and what they counted and logged."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.door = Door(3, 2)
        self.log = io.StringIO()
        self._context = context
        self._receptions: list[Reception] = []
        self.metrics = Metrics()
        self._open = self.metrics.gauge("sessions", "Open.")
        self._refused = self.metrics.counter("refused", "Refused.")
        self._bugs = self.metrics.counter("bugs", "Bugs.")
        self._arrived = self.metrics.counter("arrived", "Arrived.")

    def figure(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"posthorn_{name}") or 0.0

    def open(self, **fields: Any) -> Reception:
        settings = ListenerSettings(name="echo", protocol="smtp", bind=("127.0.0.1:0",), **{"tls": "none", **fields})
        made = Reception(
            settings,
            Welcome(
                door=self.door,
                converse=Echo,
                refusals={Full.ALL: b"full\n", Full.ADDRESS: b"full for you\n"},
                tls_context=lambda: self._context,
                tls_seconds=SECONDS,
                figures=ReceptionFigures(self._open, self._refused, self._bugs, self._arrived),
                log=structlog.wrap_logger(
                    structlog.WriteLogger(self.log),
                    [structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
                ),
            ),
        )
        made.open()
        self._receptions.append(made)
        return made

    async def close(self) -> None:
        await asyncio.gather(*(each.stop() for each in self._receptions))


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path, "node.example.org"))
    made = Stage(context)
    yield made
    await made.close()


class Client:
    """A connection to a reception, line by line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def say(self, text: bytes) -> None:
        self.writer.write(text)

    async def hear(self) -> bytes:
        """The next line, b"" at the end."""
        try:
            return await asyncio.wait_for(self._reader.readline(), SECONDS)
        except ConnectionResetError:
            return b""


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """`await connect(reception, tls=True)`."""
    clients: list[Client] = []

    async def make(reception: Reception, *, tls: bool = False) -> Client:
        context = None
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        clients.append(Client(*await asyncio.open_connection(*reception.addresses()[0], ssl=context)))
        return clients[-1]

    yield make
    for client in clients:
        client.writer.transport.abort()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 (a bounded poll)
            await asyncio.sleep(0.005)


async def test_sessions_are_hosted_counted_and_forgotten(stage: Stage, connect: Any) -> None:
    reception = stage.open()
    client = await connect(reception)
    assert await client.hear() == b"hello 127.0.0.1\n"
    assert (stage.door.count, stage.figure("sessions"), stage.figure("arrived_total")) == (1, 1, 1)
    client.say(b"ping\n")
    assert await client.hear() == b"ping\n"
    client.writer.close()
    await until(lambda: stage.door.count == 0)
    assert stage.figure("sessions") == 0
    assert "listening" in stage.log.getvalue()


async def test_the_door_is_shared_and_says_why(stage: Stage, connect: Any) -> None:
    reception, proxied = stage.open(), stage.open(proxy_networks=("127.0.0.0/8",))
    first = await connect(reception)
    await first.hear()
    second = await connect(reception)
    await second.hear()
    third = await connect(reception)
    assert (await third.hear(), await third.hear()) == (b"full for you\n", b"")
    for source, greeting in ((b"192.0.2.1", b"hello 192.0.2.1\n"), (b"192.0.2.2", b"full\n")):
        client = await connect(proxied)
        client.say(b"PROXY TCP4 %s 127.0.0.1 1 2\r\n" % source)
        assert await client.hear() == greeting
    assert stage.figure("refused_total") == 2
    first.writer.close()
    await until(lambda: stage.door.count == 2)
    again = await connect(reception)
    assert await again.hear() == b"hello 127.0.0.1\n"


async def test_a_listener_has_a_limit_of_its_own(stage: Stage, connect: Any) -> None:
    reception, other = stage.open(max_connections=1), stage.open()
    assert (await (await connect(reception)).hear()).startswith(b"hello")
    assert await (await connect(reception)).hear() == b"full\n"
    assert (await (await connect(other)).hear()).startswith(b"hello")


async def test_a_listener_has_a_limit_per_address_of_its_own(stage: Stage, connect: Any) -> None:
    reception, other = stage.open(max_connections_per_address=1), stage.open()
    first = await connect(reception)
    assert (await first.hear()).startswith(b"hello")
    assert await (await connect(reception)).hear() == b"full for you\n"
    assert (await (await connect(other)).hear()).startswith(b"hello")
    first.writer.transport.abort()
    await until(lambda: stage.door.count == 1)
    assert (await (await connect(reception)).hear()).startswith(b"hello")


async def test_who_is_still_at_tls_counts_too(stage: Stage, connect: Any) -> None:
    reception = stage.open(max_connections=1, tls="implicit")
    await connect(reception)
    await until(lambda: stage.door.count == 1)
    assert await (await connect(reception)).hear() == b""
    assert stage.figure("refused_total") == 1


async def test_a_balancer_must_say_whom_it_brings(stage: Stage, connect: Any) -> None:
    reception = stage.open(proxy_networks=("127.0.0.0/8",))
    client = await connect(reception)
    client.say(b"no header at all\r\n")
    assert await client.hear() == b""
    client = await connect(reception)
    client.say(b"PROXY UNKNOWN\r\n")
    assert await client.hear() == b"hello 127.0.0.1\n"
    assert "no PROXY header" in stage.log.getvalue()


async def test_implicit_tls_comes_first_and_failures_end_only_their_connection(stage: Stage, connect: Any) -> None:
    reception = stage.open(tls="implicit")
    bad = await connect(reception)
    bad.say(b"this is no handshake\r\n")
    while await bad.hear():
        pass
    await until(lambda: stage.door.count == 0)
    assert "TLS handshake failed" in stage.log.getvalue()
    client = await connect(reception, tls=True)
    assert await client.hear() == b"hello 127.0.0.1\n"
    second = await connect(reception, tls=True)
    await second.hear()
    # A refusal in plain text would be garbage to a client that shakes hands.
    assert await (await connect(reception)).hear() == b""
    assert stage.figure("refused_total") == 1


async def test_a_header_before_tls_leaves_the_handshake_whole(stage: Stage) -> None:
    reception = stage.open(tls="implicit", proxy_networks=("127.0.0.0/8",))
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(*reception.addresses()[0])
    writer.write(b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n")
    await writer.start_tls(context)
    assert await asyncio.wait_for(reader.readline(), SECONDS) == b"hello 192.0.2.1\n"
    writer.transport.abort()


async def test_a_session_that_fails_is_a_bug_and_takes_nobody_along(stage: Stage, connect: Any) -> None:
    reception = stage.open()
    other, client = await connect(reception), await connect(reception)
    await other.hear()
    await client.hear()
    client.say(b"fail\n")
    assert await client.hear() == b""
    await until(lambda: stage.door.count == 1)
    assert stage.figure("bugs_total") == 1
    assert "as it was told" in stage.log.getvalue()
    other.say(b"still here\n")
    assert await other.hear() == b"still here\n"


async def test_a_drain_stops_accepting_and_waits_for_the_sessions(stage: Stage, connect: Any) -> None:
    reception, proxied = stage.open(), stage.open(proxy_networks=("127.0.0.0/8",))
    address = reception.addresses()[0]
    client, arriving = await connect(reception), await connect(proxied)
    await client.hear()
    await until(lambda: stage.figure("arrived_total") == 2)
    draining = asyncio.create_task(reception.drain())
    draining_proxied = asyncio.create_task(proxied.drain())
    await until(lambda: not reception.addresses())
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    client.say(b"more\n")
    assert await client.hear() == b"more\n"
    assert not draining.done()
    arriving.say(b"PROXY UNKNOWN\r\n")
    assert await arriving.hear() == b"hello 127.0.0.1\n"
    arriving.say(b"done\n")
    assert (await arriving.hear(), await arriving.hear()) == (b"done\n", b"")
    await asyncio.wait_for(draining_proxied, SECONDS)
    client.say(b"done\n")
    assert (await client.hear(), await client.hear()) == (b"done\n", b"")
    await asyncio.wait_for(draining, SECONDS)


async def test_a_stop_ends_what_is_left_and_whoever_still_arrives(stage: Stage, connect: Any) -> None:
    reception, proxied = stage.open(), stage.open(proxy_networks=("127.0.0.0/8",))
    client, deaf, arriving = await connect(reception), await connect(reception), await connect(proxied)
    await client.hear()
    await deaf.hear()
    deaf.say(b"hold\n")
    assert await deaf.hear() == b"hold\n"
    await until(lambda: stage.figure("arrived_total") == 3)
    await asyncio.gather(reception.stop(), proxied.stop())
    assert (stage.door.count, stage.figure("sessions")) == (0, 0)
    assert (await client.hear(), await client.hear()) == (b"stopped\n", b"")
    assert await deaf.hear() == b""
    assert await arriving.hear() == b""
