"""The HTTP server's bounds and its end, by raw bytes over real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import posthorn_node.http
from posthorn_node.certificate import self_signed
from posthorn_node.http import MAX_HEAD_BYTES, HttpServer, server_on
from posthorn_node.listen import open_sockets
from posthorn_node.settings import ServerSettings, ServerTlsSettings
from posthorn_node.tls import TlsContexts


class App:
    """Answers every request with its path; "/held" waits for `release`."""

    def __init__(self) -> None:
        self.held, self.release = asyncio.Event(), asyncio.Event()
        self.clients: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.clients.append(scope["client"][0])
        while (await receive()).get("more_body"):
            pass
        if scope["path"] == "/held":
            self.held.set()
            await self.release.wait()
        body = scope["path"].encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Served:
    def __init__(self) -> None:
        self.app = App()
        self.servers: list[HttpServer] = []

    async def start(self, **limits: Any) -> None:
        self.servers.append(server_on(self.app, open_sockets("127.0.0.1:0"), **limits))
        await self.servers[-1].start()

    async def connect(self, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.servers[-1].addresses[0], **more)


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    found = Served()
    yield found
    found.app.release.set()
    for server in found.servers:
        await server.stop()


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        return await reader.read()


CLOSE = b"Host: h\r\nConnection: close\r\n\r\n"


async def test_request_is_answered_without_naming_the_server(served: Served) -> None:
    await served.start()
    reader, writer = await served.connect()
    writer.write(b"GET /x HTTP/1.1\r\n" + CLOSE)
    found = await answer(reader)
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert found.endswith(b"\r\n\r\n/x")
    assert b"server:" not in found.lower()


async def test_endless_head_is_refused(served: Served) -> None:
    await served.start()
    reader, writer = await served.connect()
    head = b"GET /x HTTP/1.1\r\nX-Long: "
    writer.write(head + b"a" * (MAX_HEAD_BYTES + 1 - len(head)))
    assert (await answer(reader)).startswith(b"HTTP/1.1 431 ")
    assert served.app.clients == []


async def test_large_body_is_not_taken_for_a_head(served: Served) -> None:
    await served.start()
    reader, writer = await served.connect()
    writer.write(b"POST /x HTTP/1.1\r\nContent-Length: 300000\r\n" + CLOSE)
    writer.write(b"a" * 300000)
    assert (await answer(reader)).startswith(b"HTTP/1.1 200 ")


async def test_slow_head_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posthorn_node.http, "HEAD_SECONDS", 0.05)
    await served.start()
    reader, writer = await served.connect()
    writer.write(b"GET /x HTT")
    assert await answer(reader) == b""
    silent, _ = await served.connect()
    assert await answer(silent) == b""


async def test_waiting_for_the_app_is_no_slow_head(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posthorn_node.http, "HEAD_SECONDS", 5.0)
    await served.start()
    reader, writer = await served.connect()
    writer.write(b"GET /held HTTP/1.1\r\n" + CLOSE)
    await served.app.held.wait()
    other, _ = await served.connect()
    assert await answer(other) == b""  # as long as a slow head is given, and the held request is still there
    served.app.release.set()
    assert (await answer(reader)).endswith(b"/held")


async def test_broken_request_gets_400_and_the_next_connection_works(served: Served) -> None:
    await served.start()
    reader, writer = await served.connect()
    writer.write(b"\x16\x03\x01 not http\r\n\r\n")
    assert (await answer(reader)).startswith(b"HTTP/1.1 400 ")
    reader, writer = await served.connect()
    writer.write(b"GET /y HTTP/1.1\r\n" + CLOSE)
    assert (await answer(reader)).endswith(b"/y")


async def test_too_many_connections_get_503(served: Served) -> None:
    await served.start(max_connections=2)
    _, first = await served.connect()
    first.write(b"GET /held HTTP/1.1\r\n" + CLOSE)
    await served.app.held.wait()
    reader, second = await served.connect()
    second.write(b"GET /x HTTP/1.1\r\n" + CLOSE)
    assert (await answer(reader)).startswith(b"HTTP/1.1 503 ")


async def test_draining_lets_a_running_request_end_and_refuses_new_connections(served: Served) -> None:
    await served.start()
    reader, writer = await served.connect()
    writer.write(b"GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
    await served.app.held.wait()
    idle, _ = await served.connect()
    drained = asyncio.create_task(served.servers[0].drain())
    assert await answer(idle) == b""
    with pytest.raises(OSError):
        await served.connect()
    assert not drained.done()
    served.app.release.set()
    assert (await answer(reader)).endswith(b"/held")
    await drained


async def test_draining_ends_at_its_limit(served: Served) -> None:
    await served.start(grace=1)
    _, writer = await served.connect()
    writer.write(b"GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
    await served.app.held.wait()
    async with asyncio.timeout(60):
        await served.servers[0].drain()
    assert not served.app.release.is_set()


async def test_tls_speaks_http_1_1_only(served: Served, tmp_path: Path) -> None:
    pem = self_signed(tmp_path, "mx.example.org")
    tls = ServerTlsSettings(certificate=pem, private_key=pem)
    contexts = TlsContexts(ServerSettings(hostname="mx.example.org", tls=tls))
    await served.start(tls=contexts.server_context(("http/1.1",)))
    client = ssl.create_default_context(cafile=pem)
    client.set_alpn_protocols(["h2", "http/1.1"])
    reader, writer = await served.connect(ssl=client, server_hostname="mx.example.org")
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    writer.write(b"GET /x HTTP/1.1\r\n" + CLOSE)
    assert (await answer(reader)).endswith(b"/x")


@pytest.mark.parametrize(("trusted", "client"), [(["127.0.0.0/8"], "192.0.2.7"), ([], "127.0.0.1")])
async def test_only_trusted_proxies_may_say_who_the_client_is(served: Served, trusted: list[str], client: str) -> None:
    await served.start(trusted=trusted)
    reader, writer = await served.connect()
    writer.write(b"GET /x HTTP/1.1\r\nX-Forwarded-For: 192.0.2.7\r\n" + CLOSE)
    await answer(reader)
    assert served.app.clients == [client]
