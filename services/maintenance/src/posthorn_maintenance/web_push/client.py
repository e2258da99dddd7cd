"""Posts a push to wherever a client said, from inside the network: so everything about it is bounded and judged.

The address that is connected to is judged, not the name, and nobody resolves the name a second time. Redirects are not
followed, a proxy is not used, the answer's body is not read; one connection is one push.
"""

import asyncio
import ssl
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final, Protocol

import h11

from posthorn_maintenance.web_push.push import PushAnswer, PushRequest
from posthorn_model.errors import NotPermitted, Unavailable
from posthorn_model.resolving import Resolver
from posthorn_storage.push.urls import Network, allowed

MOST_ADDRESSES: Final = 3
"""That are tried, one after the other."""
MAX_HEAD: Final = 16_384
"""Octets of the answer's header section."""
MAX_INTERIM: Final = 10
"""Interim answers (1xx) before the answer."""
READ: Final = 4096


class Reach(Protocol):
    """Where may be connected to, and for how long is waited: WebPushSettings, TlsReportSettings."""

    @property
    def timeout(self) -> float: ...

    @property
    def ca(self) -> Path | None: ...

    def allowed(self) -> Sequence[Network]: ...


class PushClient:
    """See the module. Names are asked of `resolver`."""

    def __init__(self, settings: Reach, resolver: Resolver) -> None:
        self._networks: Sequence[Network] = settings.allowed()
        self._timeout = settings.timeout
        self._resolver = resolver
        self._ca = settings.ca
        self._context: ssl.SSLContext | None = None

    async def post(self, request: PushRequest) -> PushAnswer:
        """Post it. Raises NotPermitted when the host leads to no address that may be connected to; Unavailable."""
        try:
            async with asyncio.timeout(self._timeout):
                tls = self._tls()
                addresses = await self._addresses(request.url.host)
                reader, writer = await self._connect(request, addresses, tls)
                try:
                    return await _exchange(reader, writer, request)
                finally:
                    writer.transport.abort()
        except TimeoutError:
            raise Unavailable(f"no answer within {self._timeout:g} s") from None
        except ssl.SSLError as error:
            raise Unavailable(f"TLS: {error.reason or type(error).__name__}") from None
        except OSError as error:
            raise Unavailable(error.strerror or type(error).__name__) from None
        except h11.RemoteProtocolError as error:
            raise Unavailable(f"no HTTP: {error}"[:200]) from None

    def _tls(self) -> ssl.SSLContext:
        """Made once, from the file of authorities where there is one. Raises Unavailable."""
        if self._context is None:
            try:
                self._context = ssl.create_default_context(cafile=self._ca)
            except OSError as error:
                raise Unavailable(f"the file named by ca cannot be read: {error.strerror or error}") from None
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context

    async def _addresses(self, host: str) -> list[IPv4Address | IPv6Address]:
        """Where the host is, without what may not be connected to."""
        try:
            found: list[IPv4Address | IPv6Address] = [ip_address(host)]
        except ValueError:
            answers = await asyncio.gather(self._resolver.ipv6(host), self._resolver.ipv4(host))
            found = [*answers[1].records, *answers[0].records]
            if not found and any(answer.failed for answer in answers):
                raise Unavailable("DNS does not answer for the host") from None
            if not found:
                raise Unavailable("the host has no address") from None
        those = [address for address in found if allowed(address, self._networks)]
        if not those:
            raise NotPermitted("the host leads to an address that is not public")
        return those[:MOST_ADDRESSES]

    async def _connect(
        self, request: PushRequest, addresses: Sequence[IPv4Address | IPv6Address], tls: ssl.SSLContext
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        problem: OSError | None = None
        for address in addresses:
            try:
                return await asyncio.open_connection(
                    str(address), request.url.port, ssl=tls, server_hostname=request.url.host, limit=MAX_HEAD
                )
            except OSError as error:
                problem = error
        assert problem is not None
        raise problem


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: PushRequest) -> PushAnswer:
    """Send the request and read the head of the answer. Raises OSError, h11.RemoteProtocolError."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    fields = [
        ("Host", request.url.authority),
        *request.fields.items(),
        ("Content-Length", str(len(request.body))),
        ("Connection", "close"),
    ]
    parts = [
        connection.send(h11.Request(method="POST", target=request.url.target, headers=fields)),
        connection.send(h11.Data(data=request.body)),
        connection.send(h11.EndOfMessage()),
    ]
    writer.write(b"".join(part for part in parts if part))
    await writer.drain()
    interim = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            octets = await reader.read(READ)
            if not octets:
                raise Unavailable("the connection was closed before the answer")
            connection.receive_data(octets)
        elif isinstance(event, h11.Response):
            return PushAnswer(event.status_code, _seconds(dict(event.headers).get(b"retry-after", b"")))
        elif not isinstance(event, h11.InformationalResponse) or (interim := interim + 1) > MAX_INTERIM:
            raise h11.RemoteProtocolError("there is no answer")


def _seconds(text: bytes) -> float | None:
    """Retry-After as seconds; one that names a time of day is not heeded (RFC 9110 10.2.3)."""
    return float(text) if text.isdigit() and len(text) < 10 else None
