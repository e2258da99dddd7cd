"""A zone on a local server, asked with real packets."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import pytest_asyncio

from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_testkit.dns import DnsServer

Zone = Mapping[str, Mapping[str, Sequence[str]]]
Serve = Callable[..., Awaitable[tuple[DnsServer, DnsResolver]]]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """`server, resolver = await serve(zone, timeout=...)`."""
    running: list[DnsServer] = []

    async def begin(zone: Zone, timeout: float = 20.0) -> tuple[DnsServer, DnsResolver]:
        server = await DnsServer(zone).__aenter__()
        running.append(server)
        return server, DnsResolver([("127.0.0.1", server.port)], timeout=timeout)

    yield begin
    for server in running:
        await server.__aexit__(None, None, None)
