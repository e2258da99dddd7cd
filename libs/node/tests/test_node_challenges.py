"""Challenges of authorities: what a client says first is read from real handshakes, and each kind is answered."""

import asyncio
import contextlib
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from posthorn_model.errors import Unavailable
from posthorn_node.certificate import ACME_IDENTIFIER
from posthorn_node.challenges import MOST_AT_ONCE, Challenges
from posthorn_node.hello import MAX_HELLO, BadHello, Hello, client_hello
from posthorn_node.http import HttpServer, server_on
from posthorn_node.listen import open_sockets
from posthorn_node.settings import ServerSettings
from posthorn_node.tls import TlsContexts

TOKEN = "a" * 22
PATIENCE = 30


def spoken(name: str | None, *protocols: str) -> bytes:
    """What OpenSSL says first."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("name", "protocols"),
    [("mail.example.org", ("acme-tls/1",)), (None, ("h2", "http/1.1")), ("Mail.Example.ORG", ()), (None, ())],
)
def test_a_hello_is_read_whole_octet_by_octet_and_with_what_follows(
    name: str | None, protocols: tuple[str, ...]
) -> None:
    data = spoken(name, *protocols)
    expected = Hello((name or "").lower(), protocols)
    assert client_hello(data) == expected
    assert client_hello(data + b"more") == expected
    for length in range(len(data)):
        assert client_hello(data[:length]) is None


def test_a_hello_in_several_records_is_put_together() -> None:
    data = spoken("mail.example.org", "acme-tls/1")
    body = data[5:]
    split = b"".join(data[:3] + len(part).to_bytes(2, "big") + part for part in (body[:2], body[2:50], body[50:]))
    assert client_hello(split) == Hello("mail.example.org", ("acme-tls/1",))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
    ],
)
def test_what_is_no_hello_is_refused(data: bytes) -> None:
    with pytest.raises(BadHello):
        client_hello(data)


def test_a_hello_without_end_is_refused() -> None:
    with pytest.raises(BadHello):
        client_hello(b"\x16\x03\x01\xff\xff" + b"\x01\x00\x30\x00" + bytes(MAX_HELLO))


@given(st.binary(max_size=300), st.integers(0, 500), st.binary(min_size=1, max_size=4))
def test_anything_is_read_or_refused(data: bytes, place: int, change: bytes) -> None:
    hello = bytearray(_HELLO)
    hello[place : place + len(change)] = change
    for each in (data, bytes(hello)):
        try:
            found = client_hello(each)
        except BadHello:
            continue
        assert found is None or len(found.protocols) < MAX_HELLO


_HELLO = spoken("mail.example.org", "acme-tls/1", "http/1.1")
Serve = Callable[..., Any]


@pytest_asyncio.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """`await serve(find)`: the address of a server that answers both kinds; with `tls=False` one without TLS."""
    servers: list[HttpServer] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": b"app"})

    async def begin(find: Any, *, tls: bool = True) -> tuple[str, int]:
        contexts = TlsContexts(ServerSettings(hostname="mx.example.org", data=tmp_path))
        server = server_on(
            app,
            open_sockets("127.0.0.1:0"),
            tls=contexts.server_context(("http/1.1",)) if tls else None,
            challenges=Challenges(find, ["http-01", "tls-alpn-01"]),
        )
        await server.start()
        servers.append(server)
        return server.addresses[0]

    yield begin
    for server in servers:
        await server.stop()


async def known(kind: str, key: str) -> str | None:
    return {("http-01", TOKEN): "the answer", ("tls-alpn-01", "mail.example.org"): "the authorization"}.get((kind, key))


async def get(address: tuple[str, int], path: str, *, tls: bool) -> tuple[int, bytes]:
    context = ssl._create_unverified_context() if tls else None
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*address, ssl=context)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    return int(head.split()[1]), body


@pytest.mark.parametrize("tls", [False, True])
async def test_a_token_is_answered_before_the_app_is_asked(serve: Serve, tls: bool) -> None:
    address = await serve(known, tls=tls)
    assert await get(address, f"/.well-known/acme-challenge/{TOKEN}", tls=tls) == (200, b"the answer")
    for other in ("b" * 22, "short", "../../etc/passwd", "a" * 129, "%00" * 16):
        assert await get(address, f"/.well-known/acme-challenge/{other}", tls=tls) == (404, b"")
    assert await get(address, "/", tls=tls) == (200, b"app")


async def test_an_authority_is_shown_the_certificate_of_the_challenge(serve: Serve) -> None:
    address = await serve(known)
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["acme-tls/1"])
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="mail.example.org")
        shown = writer.get_extra_info("ssl_object")
        assert shown.selected_alpn_protocol() == "acme-tls/1"
        leaf = x509.load_der_x509_certificate(shown.getpeercert(binary_form=True))
        assert await reader.read() == b""
        writer.close()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("mail.example.org")]
    extension = leaf.extensions.get_extension_for_oid(ACME_IDENTIFIER)
    assert extension.critical
    assert extension.value.public_bytes() == b"\x04\x20" + hashlib.sha256(b"the authorization").digest()
    assert await get(address, "/", tls=True) == (200, b"app")


async def test_who_asks_for_a_name_without_a_challenge_hears_nothing(serve: Serve) -> None:
    address = await serve(known)
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["acme-tls/1"])
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        async with asyncio.timeout(PATIENCE):
            await asyncio.open_connection(*address, ssl=context, server_hostname="other.example.org")


async def test_who_does_not_speak_tls_ends_only_itself(serve: Serve) -> None:
    address = await serve(known)
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):  # what it had sent was never taken
            assert await reader.read() == b""
        writer.close()
        slow_reader, slow = await asyncio.open_connection(*address)
        slow.write(_HELLO[:20])
        assert await get(address, "/", tls=True) == (200, b"app")
        slow.write(_HELLO[20:])
        assert await slow_reader.read(5)  # the handshake has begun
        slow.close()
        gone = socket.create_connection(address)
        gone.close()
    assert await get(address, "/", tls=True) == (200, b"app")


async def test_a_database_that_is_away_is_not_found_and_many_questions_are_turned_away(serve: Serve) -> None:
    async def away(_kind: str, _key: str) -> str | None:
        raise Unavailable

    path = f"/.well-known/acme-challenge/{TOKEN}"
    assert await get(await serve(away, tls=False), path, tls=False) == (404, b"")
    asked, go = 0, asyncio.Event()

    async def slow(_kind: str, _key: str) -> str | None:
        nonlocal asked
        asked += 1
        await go.wait()
        return "late"

    address = await serve(slow, tls=False)
    waiting = [asyncio.create_task(get(address, path, tls=False)) for _ in range(MOST_AT_ONCE)]
    async with asyncio.timeout(PATIENCE):
        while asked < MOST_AT_ONCE:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
        assert await get(address, path, tls=False) == (404, b"")
        go.set()
        assert await asyncio.gather(*waiting) == [(200, b"late")] * MOST_AT_ONCE
