"""dav as it answers: real database, real HTTP on a free port, in the test's own event loop."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest_asyncio
import structlog

from posthorn_dav.flow import DavApp
from posthorn_dav.settings import DavSettings
from posthorn_model.clock import SystemClock
from posthorn_node.http import server_on
from posthorn_node.listen import open_sockets
from posthorn_storage import AccountRecord, Storage

PASSWORD = "correct horse"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks HTTP/1.1 over a connection of its own per request, with Ann's credentials unless told otherwise."""

    host: str
    port: int

    async def __call__(
        self,
        method: str,
        path: str,
        body: str | bytes = b"",
        *,
        login: tuple[str, str] | None = ("ann@example.org", PASSWORD),
        **headers: str,
    ) -> Reply:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        data = body.encode() if isinstance(body, str) else body
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"Content-Length: {len(data)}", "Connection: close"]
        if login is not None:
            lines.append("Authorization: Basic " + base64.b64encode(":".join(login).encode()).decode())
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        return Reply(int(status.split()[1]), found, content.decode())


@pytest_asyncio.fixture
async def ann(account: Callable[..., Awaitable[AccountRecord]]) -> AccountRecord:
    return await account("ann@example.org", PASSWORD)


@pytest_asyncio.fixture
async def dav(storage: Storage, ann: AccountRecord) -> AsyncIterator[Client]:
    settings = DavSettings(max_request_size=100_000, max_resource_size=50_000, max_results=50)
    log, clock = structlog.get_logger(), SystemClock()
    app = DavApp(storage, settings, log, clock, lambda method, status, seconds: None, plaintext_login=True)
    server = server_on(app, open_sockets("127.0.0.1:0"))
    await server.start()
    host, port = server.addresses[0]
    yield Client(host, port)
    await server.stop()
