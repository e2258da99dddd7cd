"""Both ends of a connection over a real socket: input, flow control, TLS in place, and ends of every kind."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn_node.certificate import self_signed
from posthorn_node.stream.connection import Connection, ConnectionLost, Interrupted

SECONDS = 20.0
MUCH = bytes(range(256)) * 131_072
"""32 MiB: more than the kernel holds for a socket."""

Pair = Callable[..., Awaitable[tuple[Connection, Connection]]]


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    """`await pair(max_input=...)`: a server's and a client's end."""
    ends: list[Connection] = []
    servers: list[asyncio.Server] = []

    async def connect(**options: int) -> tuple[Connection, Connection]:
        loop = asyncio.get_running_loop()
        near, far = Connection(**options), Connection()
        ends.extend((near, far))
        server = await loop.create_server(lambda: near, "127.0.0.1", 0)
        servers.append(server)
        await loop.create_connection(lambda: far, *server.sockets[0].getsockname())
        await far.send(b"!", SECONDS)
        assert await near.receive(SECONDS) == b"!"  # now the server's end is connected too
        return near, far

    yield connect
    for end in ends:
        end.abort()
    for server in servers:
        server.close()


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = self_signed(tmp_path, "node.example.org")
    server.load_cert_chain(certificate)
    return server, ssl.create_default_context(cafile=certificate)


async def read(connection: Connection, count: int) -> bytes:
    """Octets to a number, or to the end of the stream."""
    found = bytearray()
    while len(found) < count and (data := await connection.receive(SECONDS)):
        found += data
    return bytes(found)


async def test_octets_go_both_ways_until_the_end_of_the_stream(pair: Pair) -> None:
    near, far = await pair()
    await near.send(b"ping", SECONDS)
    assert await read(far, 4) == b"ping"
    await far.send(b"pong", SECONDS)
    assert await read(near, 4) == b"pong"
    assert (near.peer, near.encrypted, near.cipher, near.pending) == ("127.0.0.1", False, "", False)
    await far.close(SECONDS)
    assert await near.receive(SECONDS) == b""
    assert near.pending
    await asyncio.wait_for(near.lost, SECONDS)
    with pytest.raises(ConnectionLost):
        await near.send(b"x", SECONDS)
    with pytest.raises(ConnectionLost):
        _ = near.peer


async def test_a_wait_for_input_ends_by_time_or_interruption(pair: Pair) -> None:
    near, far = await pair()
    with pytest.raises(TimeoutError):
        await near.receive(0)
    near.interrupt()
    with pytest.raises(Interrupted):
        await near.receive(SECONDS)
    waiting = asyncio.create_task(near.receive(SECONDS))
    await asyncio.sleep(0)
    near.interrupt()
    with pytest.raises(Interrupted):
        await waiting
    near.interrupt()
    await far.send(b"first", SECONDS)
    while not near.pending:  # noqa: ASYNC110 (the wait itself is under test elsewhere)
        await asyncio.sleep(0)
    assert await near.receive(SECONDS) == b"first"
    with pytest.raises(Interrupted):
        await near.receive(SECONDS)


async def test_input_is_bounded_and_a_peer_that_does_not_read_is_noticed(pair: Pair) -> None:
    near, far = await pair(max_input=1000)
    with pytest.raises(ConnectionLost, match="timed out sending"):
        await far.send(MUCH, 0.2)
    first = await near.receive(SECONDS)
    assert len(first) < len(MUCH) // 8
    assert first + await read(near, len(MUCH) - len(first)) == MUCH


async def test_a_sender_waits_for_a_slow_reader(pair: Pair) -> None:
    near, far = await pair()
    sending = asyncio.create_task(far.send(MUCH, SECONDS))
    assert await read(near, len(MUCH)) == MUCH
    await sending


async def test_a_waiting_sender_hears_that_the_peer_is_gone(pair: Pair) -> None:
    near, far = await pair()
    sending = asyncio.create_task(far.send(MUCH, SECONDS))
    await near.receive(SECONDS)
    near.abort()
    with pytest.raises(ConnectionLost, match="connection lost"):
        await sending


async def test_closing_drops_what_the_peer_does_not_take(pair: Pair) -> None:
    near, far = await pair(max_input=1000)
    with pytest.raises(ConnectionLost):
        await far.send(MUCH, 0)
    await far.close(0.01)
    await asyncio.wait_for(far.lost, SECONDS)
    assert len(await read(near, len(MUCH))) < len(MUCH)
    await far.close(SECONDS)


async def test_tls_begins_in_place_behind_the_last_plain_words(
    pair: Pair, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    near, far = await pair()
    accepting = asyncio.create_task(near.accept_tls(contexts[0], b"go\r\n", send=SECONDS, tls=SECONDS))
    assert await read(far, 4) == b"go\r\n"
    await far.start_tls(contexts[1], "node.example.org", SECONDS)
    await accepting
    assert near.encrypted
    assert near.cipher == far.cipher
    assert near.cipher.startswith("TLSv1.3 ")
    sending = asyncio.create_task(near.send(MUCH, SECONDS))
    assert await read(far, len(MUCH)) == MUCH
    await sending
    await far.close(SECONDS)
    assert await near.receive(SECONDS) == b""


async def test_what_was_sent_ahead_of_tls_is_dropped(
    pair: Pair, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    near, far = await pair()
    await far.send(b"injected", SECONDS)
    while not near.pending:  # noqa: ASYNC110 (it must be there and unread)
        await asyncio.sleep(0)
    accepting = asyncio.create_task(near.accept_tls(contexts[0], b"go\r\n", send=SECONDS, tls=SECONDS))
    assert await read(far, 4) == b"go\r\n"
    await far.start_tls(contexts[1], "node.example.org", SECONDS)
    await accepting
    await far.send(b"encrypted", SECONDS)
    assert await read(near, 9) == b"encrypted"


async def test_a_client_takes_no_tls_behind_unread_plain_text(
    pair: Pair, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    near, far = await pair()
    await near.send(b"go\r\n250 injected\r\n", SECONDS)
    while not far.pending:  # noqa: ASYNC110 (it must be there and unread)
        await asyncio.sleep(0)
    with pytest.raises(ConnectionLost, match="between its reply and TLS"):
        await far.start_tls(contexts[1], "node.example.org", SECONDS)


async def test_a_failed_handshake_ends_the_connection(
    pair: Pair, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    near, far = await pair()
    accepting = asyncio.create_task(near.accept_tls(contexts[0], b"go\r\n", send=SECONDS, tls=SECONDS))
    assert await read(far, 4) == b"go\r\n"
    await far.send(b"this is no handshake\r\n", SECONDS)
    with pytest.raises(ConnectionLost, match="TLS handshake failed"):
        await accepting
    assert near.lost.done()
    await near.close(SECONDS)
    while await far.receive(SECONDS):
        pass
    near, far = await pair()
    accepting = asyncio.create_task(near.accept_tls(contexts[0], b"go\r\n", send=SECONDS, tls=SECONDS))
    assert await read(far, 4) == b"go\r\n"
    with pytest.raises(ConnectionLost, match="certificate"):
        await far.start_tls(contexts[1], "other.example.org", SECONDS)
    assert far.lost.done()
    with pytest.raises(ConnectionLost):
        await accepting


async def test_a_peer_that_left_gets_no_tls(pair: Pair, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    near, far = await pair()
    far.abort()
    await asyncio.wait_for(near.lost, SECONDS)
    with pytest.raises(ConnectionLost):
        await near.accept_tls(contexts[0], b"go\r\n", send=SECONDS, tls=SECONDS)
