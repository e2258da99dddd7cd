"""Serves an ASGI app over HTTP/1.1 on sockets that are already open: uvicorn with bounds on heads, time and number.

It knows nothing of what the app does; limits on bodies are the app's own.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from posthorn_node.bans import Bans
from posthorn_node.challenges import ANSWERS, Challenges
from posthorn_node.hello import BadHello
from posthorn_node.listen import addresses_of, hang_up
from posthorn_node.settings import ListenerSettings

if TYPE_CHECKING:
    from posthorn_node.node import Node

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 30.0
"""How long a client may take to send the head of its first request, or of the next once that has begun."""
MAX_HANDSHAKES = 1024
"""Of one server at once, where it looks at clients before their handshake."""
ACCEPT_PAUSE = 0.1
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class _BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol, which itself bounds neither the size of a request's head nor the time it takes."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.access_log = False
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._deadline is not None and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_arrived()
        super().on_headers_complete()

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_arrived(self) -> None:
        self._head_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers (the process has its own), and with an event for being up.

    With `challenges` or `bans` it accepts connections itself: those of an authority are led aside, and those of banned
    clients end, before the handshake.
    """

    def __init__(self, config: uvicorn.Config, challenges: Challenges | None, bans: Bans | None) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self._challenges = challenges
        self._bans = bans
        self._accepting: list[asyncio.Task[None]] = []
        self._arrivals: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._challenges is None and self._bans is None:
            await super().startup(sockets=sockets)
        else:
            await super().startup(sockets=[])
            self._accepting = [asyncio.create_task(self._accept(each), name="accept") for each in sockets or []]
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in (*self._accepting, *self._arrivals):
            task.cancel()
        for each in (sockets or []) if self._accepting else []:
            hang_up(each)  # closing is not enough where another process has it open too
        await super().shutdown(sockets=sockets)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, peer = await loop.sock_accept(listening)
            except OSError:
                await asyncio.sleep(ACCEPT_PAUSE)  # a peer that went away, or no descriptor left
                continue
            if len(self._arrivals) >= MAX_HANDSHAKES or (self._bans is not None and self._bans.hold(str(peer[0]))):
                connected.close()
                continue
            task = asyncio.create_task(self._arrive(connected), name="handshake")
            self._arrivals.add(task)
            task.add_done_callback(self._arrivals.discard)

    async def _arrive(self, connected: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            context = await self._challenges.context_for(connected) if self._challenges is not None else None
            factory = self._protocol if context is None else _Answered
            await loop.connect_accepted_socket(factory, connected, ssl=context or self.config.ssl)
        except (BadHello, OSError, TimeoutError):
            connected.close()
        except asyncio.CancelledError:
            connected.close()
            raise

    def _protocol(self) -> asyncio.Protocol:
        return _BoundedHttp(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Answered(asyncio.Protocol):
    """Behind the handshake of a challenge nothing is said (RFC 8737 3)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class HttpServer:
    """One app on its sockets. `drain` ends it gracefully, `stop` at once; both may be called again."""

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        challenges: Challenges | None = None,
        bans: Bans | None = None,
    ) -> None:
        self.addresses = addresses_of(sockets)
        """(host, port) of each socket."""
        self._server = _Server(config, challenges, bans)
        self._sockets = sockets
        self._task: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._server.server_state.connections)

    async def start(self) -> None:
        """Accept connections when this returns."""
        self._task = asyncio.create_task(self._server.serve(sockets=self._sockets), name="http server")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait({up, self._task}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            await self._task

    async def drain(self) -> None:
        """Stop accepting, let running requests end within the server's limit, close idle connections."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Close everything now."""
        self._server.force_exit = True
        await self.drain()


def server_on(
    app: Any,
    sockets: list[socket.socket],
    *,
    tls: ssl.SSLContext | None = None,
    max_connections: int = 8192,
    grace: float = 30.0,
    trusted: Sequence[str] = (),
    challenges: Challenges | None = None,
    bans: Bans | None = None,
) -> HttpServer:
    """A server, not yet started, for an ASGI 3 app on listening sockets, which it then owns.

    `grace` is how many seconds running requests get at the end; `trusted` are the networks of proxies whose
    Forwarded headers count; more than `max_connections` get 503. `challenges` are answered before the app is asked;
    who is held by `bans` is not let in, or gets 403 when it comes through a proxy.
    """
    if bans is not None and trusted:
        app = _kept_out(app, bans)
    if challenges is not None and challenges.by_http:
        app = challenges.before(app)
    config = uvicorn.Config(
        app,
        interface="asgi3",
        loop="none",
        http=_BoundedHttp,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=bool(trusted),
        forwarded_allow_ips=list(trusted) or None,
        server_header=False,
        limit_concurrency=max_connections,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(grace)),
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )
    by_tls = challenges if challenges is not None and challenges.by_tls and tls else None
    return HttpServer(config, sockets, by_tls, bans)


def _kept_out(app: Any, bans: Bans) -> Any:
    """An ASGI app that answers those who are banned itself: behind a proxy they are known by their request alone."""

    async def judging(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket") or not scope["client"] or not bans.hold(scope["client"][0]):
            await app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return judging


class Latest:
    """An ASGI app whose place another may take: the next request is the new one's."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


async def serve(app: Any, listener: ListenerSettings, node: "Node") -> HttpServer:
    """Open a listener and serve `app` on it; accepts connections when this returns. Raises ListenError, TlsError."""
    tls = node.tls.server_context(("http/1.1",), listener.certificate) if listener.tls == "implicit" else None
    server = server_on(
        app,
        node.sockets(listener),
        tls=tls,
        max_connections=listener.max_connections,
        grace=node.settings.server.drain_limit * 0.8,  # ends by itself before the process cuts it short
        trusted=listener.proxy_networks,
        challenges=node.tls.challenges,
        bans=node.bans,
    )
    await server.start()
    if node.tls.challenges is not None:
        # The node table tells the holder of acme.renew that an authority may be sent to look.
        kinds = node.tls.challenges.kinds(tls=tls is not None)
        node.address[ANSWERS] = sorted({*node.address.get(ANSWERS, ()), *kinds})
    node.log.info(
        "listening", listener=listener.name, protocol=listener.protocol, tls=listener.tls, bind=server.addresses
    )
    return server
