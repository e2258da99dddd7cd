"""Listening: accepts connections, asks the door, starts a session for each, and lets them end."""

import asyncio
import errno
import ipaddress
import socket
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
        figures, name = self._parts.figures, self._listener.name
        figures.connections.labels(name).inc()
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if any(ipaddress.ip_address(address) in network for network in self._networks):
                address = await read_header(connected, PROXY_SECONDS) or address
            _, connection = await asyncio.get_running_loop().connect_accepted_socket(Connection, connected)
        except (NoHeader, OSError) as error:
            self._parts.log.info("connection refused", listener=name, remote=address, reason=str(error))
            connected.close()
            return
        refusal = FULL if len(self._sessions) >= self._settings.max_connections else self._parts.door.enter(address)
        if refusal is not None:
            await self._refuse(connection, refusal)
            return
        session = Session(self._parts, self._listener, connection, address)
        self._sessions.add(session)
        figures.sessions.labels(name).inc()
        if self._draining:
            session.drain()
        try:
            await session.run()
        except Exception:
            figures.bugs.inc()
            self._parts.log.exception("session failed", listener=name, remote=address)
        finally:
            figures.sessions.labels(name).dec()
            self._parts.door.leave(address)
            self._sessions.discard(session)

    async def _refuse(self, connection: Connection, refusal: Reply) -> None:
        """Say why and close; where TLS is implicit plain text would be garbage, so there it only closes."""
        self._parts.figures.refused.labels(self._listener.name).inc()
        if not self._listener.implicit_tls:
            connection.transport.write(refusal.encode())
        await connection.close(1.0)
