"""Who is kept out: by address and network, until a ban ends, at the doors of streams and of HTTP before TLS."""

import asyncio
import ipaddress
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_node.bans import Bans
from posthorn_node.http import HttpServer, server_on
from posthorn_node.listen import open_sockets
from posthorn_node.settings import ServerSettings
from posthorn_node.stream.door import Door, Full
from posthorn_node.tls import TlsContexts


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def banned(*networks: str, end: float = math.inf, **more: Any) -> Bans:
    bans = Bans(more.pop("clock", Clock()), **more)
    bans.replace((ipaddress.ip_network(network), end) for network in networks)
    return bans


def test_who_is_kept_out() -> None:
    refused: list[None] = []
    bans = banned(
        *("192.0.2.7/32", "198.51.100.0/24", "2001:db8:1:2::/64"),
        allowed=("198.51.100.9/32",),
        refused=lambda: refused.append(None),
    )
    kept_out = ("192.0.2.7", "::ffff:192.0.2.7", "198.51.100.1", "2001:db8:1:2:3::4", "2001:db8:1:2::1%eth0")
    assert [bans.hold(address) for address in kept_out] == [True] * 5
    let_in = ("192.0.2.8", "198.51.100.9", "2001:db8:1:3::1", "::1", "", "rubbish", "192.0.2.7.1")
    assert [bans.hold(address) for address in let_in] == [False] * 7
    assert len(refused) == 5
    bans.replace([])
    assert not bans.hold("192.0.2.7")


def test_a_ban_ends_by_itself() -> None:
    clock = Clock()
    bans = banned("192.0.2.7/32", end=1010.0, clock=clock)
    assert bans.hold("192.0.2.7")
    assert bans.count == 1
    clock.now = 1010.0
    assert not bans.hold("192.0.2.7")
    assert bans.count == 0


def test_the_door() -> None:
    door = Door(2, 1, banned("192.0.2.7/32"))
    assert [door.enter(address) for address in ("192.0.2.7", "192.0.2.8", "192.0.2.8")] == [
        Full.BANNED,
        None,
        Full.ADDRESS,
    ]
    assert door.count == 1


@pytest_asyncio.fixture
async def servers() -> AsyncIterator[list[HttpServer]]:
    started: list[HttpServer] = []
    yield started
    for server in started:
        await server.stop()


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def first_line(server: HttpServer, **more: str) -> bytes:
    """Of the answer; b"" when there is none."""
    reader, writer = await asyncio.open_connection(*server.addresses[0], local_addr=("127.0.0.1", 0))
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
    writer.write(f"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n".encode())
    try:
        async with asyncio.timeout(20):
            found = await reader.read()
    except ConnectionResetError:
        return b""
    writer.close()
    return found.partition(b"\r\n")[0]


@pytest.mark.parametrize("with_tls", [False, True])
async def test_http_says_nothing_to_who_is_banned(servers: list[HttpServer], tmp_path: Path, with_tls: bool) -> None:
    bans = banned("127.0.0.1/32")
    contexts = TlsContexts(ServerSettings(hostname="node.example.org", data=tmp_path))
    tls = contexts.server_context() if with_tls else None
    servers.append(server_on(nothing, open_sockets("127.0.0.1:0"), tls=tls, bans=bans))
    await servers[0].start()
    assert await first_line(servers[0]) == b""
    if not with_tls:
        bans.replace([])
        assert await first_line(servers[0]) == b"HTTP/1.1 200 OK"


async def test_http_behind_a_proxy(servers: list[HttpServer]) -> None:
    bans = banned("192.0.2.7/32")
    servers.append(server_on(nothing, open_sockets("127.0.0.1:0"), trusted=["127.0.0.1"], bans=bans))
    await servers[0].start()
    assert await first_line(servers[0], X_Forwarded_For="192.0.2.7") == b"HTTP/1.1 403 Forbidden"
    assert await first_line(servers[0], X_Forwarded_For="192.0.2.8") == b"HTTP/1.1 200 OK"
