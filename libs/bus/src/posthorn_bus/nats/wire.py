"""A Wire over core NATS. The client's own reconnecting is turned off: what it would hide is what a Gap must tell."""

import asyncio
import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from posthorn_bus.broadcast.wire import Cut, Hear, Message, Opening, Wire
from posthorn_bus.settings import BusIdentity, NatsSettings
from posthorn_bus.tls import tls_context

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

DEFAULT_PORT = 4222
LIMIT = 4.0
"""Seconds for a connection to one server, and for an answer."""
CLOSE = 2.0
WAITING = 65_536
"""Messages of one subject that may wait to be handled, of any size up to WAITING_BYTES together."""
WAITING_BYTES = 64 << 20


def nats_opening(settings: NatsSettings, identity: BusIdentity) -> Opening:
    """What opens connections to these servers.

    Raises ImportError when nats-py is not installed, OSError or ssl.SSLError for certificates that cannot be read.
    """
    try:
        from nats.aio.client import Client
    except ImportError as error:
        raise ImportError("NATS as the coordinator needs nats-py: install posthorn-bus[nats]") from error
    options: dict[str, Any] = {
        "name": f"posthorn-{identity.member}",
        "allow_reconnect": False,
        "connect_timeout": LIMIT,
        "tls": tls_context(settings.tls) if settings.tls else None,
        "user": settings.user or None,
        "password": settings.password or None,
        "token": settings.token or None,
    }
    discovered: list[str] = []

    async def opening(hear: Hear) -> Wire:
        known = list(dict.fromkeys((*settings.servers, *discovered)))
        random.shuffle(known)
        reasons = []
        for server in known:
            wire = NatsWire(Client(), server, hear)
            try:
                await wire.open(options)
            except Cut as cut:
                reasons.append(str(cut))
                continue
            discovered[:] = [other for other in wire.others() if other not in settings.servers][:100]
            return wire
        raise Cut("; ".join(sorted(reasons)[:10]))

    return opening


class NatsWire:
    """One connection to one server."""

    def __init__(self, client: "Client", server: str, hear: Hear) -> None:
        self.place = f"NATS at {server}"
        self.largest = 0
        self._client = client
        self._server = server
        self._hear = hear
        self._subscriptions: dict[str, Subscription] = {}
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self, options: dict[str, Any]) -> None:
        """Connect. Raises Cut."""
        try:
            async with asyncio.timeout(LIMIT):
                await self._client.connect(
                    servers=[f"nats://{self._server}"],
                    error_cb=self._failed,
                    disconnected_cb=self._ended,
                    closed_cb=self._ended,
                    **options,
                )
        except Exception as error:
            # The library lets out errors of many kinds: of its own, of sockets, of TLS, of the parser.
            await self.close()
            raise Cut(f"{self.place}: {_text(error)}") from error
        self.largest = self._client.max_payload

    def others(self) -> list[str]:
        """The servers that this one told of, "host:port"."""
        return [server.netloc.rpartition("@")[2] for server in self._client.discovered_servers]

    async def listen(self, *channels: str) -> None:
        async def heard(message: "Msg") -> None:
            self._hear(message.subject, message.data)

        with self._losing():
            for channel in channels:
                self._subscriptions[channel] = await self._client.subscribe(
                    channel, cb=heard, pending_msgs_limit=WAITING, pending_bytes_limit=WAITING_BYTES
                )
            # The answer comes after the server has taken note of all.
            await self._client.flush(timeout=int(LIMIT))

    async def ignore(self, channel: str) -> None:
        subscription = self._subscriptions.pop(channel, None)
        if subscription is not None:
            with self._losing():
                await subscription.unsubscribe()

    async def send(self, messages: Sequence[Message]) -> None:
        with self._losing():
            for channel, payload in messages:
                await self._client.publish(channel, payload)

    async def serve(self) -> None:
        raise Cut(f"{self.place}: {await self._over}")

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE):
                if self._client.is_connected:
                    await self._client.flush(timeout=int(CLOSE))
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE):
                await self._client.close()
        if not self._over.done():
            self._over.set_result("closed")

    async def _failed(self, error: Exception) -> None:
        """Whatever the library reports means that something may not be heard: a refused subject, a full queue."""
        self._end(_text(error))

    async def _ended(self) -> None:
        self._end("the connection was lost")

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_result(reason)

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Why it ended says more than that it has.
            reason = self._over.result() if self._over.done() else _text(error)
            raise Cut(f"{self.place}: {reason}") from error


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
