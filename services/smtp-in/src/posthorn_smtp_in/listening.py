"""Listening: accepts connections, asks the door, starts a session for each, and lets them end."""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections.abc import Sequence

from posthorn_node.listen import open_all
from posthorn_node.settings import ListenerSettings
from posthorn_smtp_in.connection import Connection
from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.limits import FULL
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.replies import Reply
from posthorn_smtp_in.proxy import NoHeader, read_header
from posthorn_smtp_in.session import Session
from posthorn_smtp_in.transaction import Listener

PROXY_SECONDS = 10.0
STOP_SECONDS = 2.0
ACCEPT_PAUSE = 0.1
"""Seconds without accepting when the process is out of file descriptors."""


class ReceptionDesk:
    """One listener of the settings with all its sockets and sessions."""

    def __init__(self, parts: Parts, settings: ListenerSettings) -> None:
        self._parts = parts
        self._settings = settings
        self._networks = [ipaddress.ip_network(text) for text in settings.proxy_networks]
        self._listener = Listener(
            name=settings.name,
            kind=Kind(settings.protocol),
            starttls=settings.tls == "starttls",
            implicit_tls=settings.tls == "implicit",
            plaintext_auth=settings.allow_plaintext_auth,
        )
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._sessions: set[Session] = set()
        self._arriving: set[asyncio.Task[None]] = set()
        """The task of each connection, from its acceptance to its end."""
        self._draining = False

    def open(self) -> None:
        """Listen and accept; raises ListenError."""
        self._sockets = open_all(self._settings.bind)
        self._accepting = [asyncio.create_task(self._accept(each), name="accept") for each in self._sockets]
        for host, port in self.addresses():
            self._parts.log.info("listening", listener=self._listener.name, host=host, port=port)

    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where it listens."""
        return [each.getsockname()[:2] for each in self._sockets]

    async def drain(self) -> None:
        """Stop accepting and wait until every session has ended between two transactions."""
        self._draining = True
        await self._close_sockets()
        for session in list(self._sessions):
            session.drain()
        while self._arriving:
            await asyncio.wait(self._arriving)

    async def stop(self) -> None:
        """End what is left; nothing of it has been acknowledged."""
        await self._close_sockets()
        for session in list(self._sessions):
            session.stop()
        if self._arriving:
            await asyncio.wait(self._arriving, timeout=STOP_SECONDS)
        for task in self._arriving:
            task.cancel()

    async def _close_sockets(self) -> None:
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        self._accepting = []
        for each in self._sockets:
            each.close()
        self._sockets = []

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, address = await loop.sock_accept(listening)
            except OSError as error:
                # A peer that went away again is its own affair; without descriptors, accepting at once would spin.
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._parts.log.error("cannot accept", reason=str(error))
                    await asyncio.sleep(ACCEPT_PAUSE)
                continue
            task = asyncio.create_task(self._arrive(connected, str(address[0])), name="session")
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _arrive(self, connected: socket.socket, address: str) -> None:
        """One connection: the proxy's word, the door, the session."""
        name = self._listener.name
        self._parts.figures.connections.labels(name).inc()
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if any(ipaddress.ip_address(address) in network for network in self._networks):
                address = await read_header(connected, PROXY_SECONDS) or address
        except (NoHeader, OSError) as error:
            self._parts.log.info("connection refused", listener=name, remote=address, reason=str(error))
            connected.close()
            return
        full = len(self._sessions) >= self._settings.max_connections
        refusal = FULL if full else self._parts.door.enter(address)
        if refusal is not None:
            self._refuse(connected, refusal)
            return
        try:
            await self._serve(await self._connect(connected), address)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._parts.log.info("TLS handshake failed", listener=name, remote=address, reason=str(error))
            connected.close()
        finally:
            self._parts.door.leave(address)

    async def _connect(self, connected: socket.socket) -> Connection:
        """From socket to connection, through a TLS handshake where TLS is implicit."""
        connection = Connection()  # not taken from the result: uvloop returns its TLS layer there
        tls = self._parts.tls_context() if self._listener.implicit_tls else None
        seconds = self._parts.settings.timeouts.tls if tls is not None else None
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: connection, connected, ssl=tls, ssl_handshake_timeout=seconds
        )
        return connection

    async def _serve(self, connection: Connection, address: str) -> None:
        figures, name = self._parts.figures, self._listener.name
        session = Session(self._parts, self._listener, connection, address)
        self._sessions.add(session)
        figures.sessions.labels(name).inc()
        if self._draining:
            session.drain()
        try:
            await session.run()
        except Exception:  # the top of a connection: it ends, the others go on
            figures.bugs.inc()
            self._parts.log.exception("session failed", listener=name, remote=address)
        finally:
            figures.sessions.labels(name).dec()
            self._sessions.discard(session)

    def _refuse(self, connected: socket.socket, refusal: Reply) -> None:
        """Say why and close, at the cost of one packet; where TLS is implicit plain text would be garbage."""
        self._parts.figures.refused.labels(self._listener.name).inc()
        if not self._listener.implicit_tls:
            with contextlib.suppress(OSError):
                connected.send(refusal.encode())
        connected.close()
