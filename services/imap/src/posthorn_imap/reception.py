"""Listening: accepts connections within the limits, starts a session for each, and lets them end."""

import asyncio
import errno
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from posthorn_imap.connection import Connection, ConnectionLost
from posthorn_imap.parts import Listening, Parts
from posthorn_imap.proxy import BadProxyHeader, read_proxy_header
from posthorn_node.listen import open_all
from posthorn_node.settings import ListenerSettings

PROXY_SECONDS = 10.0
STOP_SECONDS = 2.0
FULL_PAUSE = 0.1
"""Seconds without accepting when the process is out of file descriptors."""


class Conversation(Protocol):
    """A session of one of the protocols."""

    async def run(self) -> None: ...

    def drain(self) -> None: ...


Converse = Callable[[Parts, Listening, Connection, str], Conversation]


class Door:
    """How many may be in: in the process, and from one address."""

    def __init__(self, most: int, per_address: int) -> None:
        self._most = most
        self._per_address = per_address
        self._inside: Counter[str] = Counter()
        self._total = 0

    def enter(self, address: str) -> bool:
        if self._total >= self._most or self._inside[address] >= self._per_address:
            return False
        self._total += 1
        self._inside[address] += 1
        return True

    def leave(self, address: str) -> None:
        self._total -= 1
        self._inside[address] -= 1
        if not self._inside[address]:
            del self._inside[address]


class Reception:
    """One listener of the settings. `refusal` is what a client hears that is not let in."""

    def __init__(
        self, parts: Parts, settings: ListenerSettings, door: Door, converse: Converse, *, refusal: bytes
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._door = door
        self._converse = converse
        self._refusal = refusal
        self._networks = [ipaddress.ip_network(text) for text in settings.proxy_networks]
        self._listening = Listening(
            name=settings.name,
            starttls=settings.tls == "starttls",
            implicit_tls=settings.tls == "implicit",
            plaintext_auth=settings.allow_plaintext_auth,
        )
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._sessions: set[Conversation] = set()
        self._arrivals: set[asyncio.Task[None]] = set()
        self._draining = False

    def open(self) -> None:
        """Listen and accept. Raises ListenError."""
        self._sockets = open_all(self._settings.bind, reuse_port=self._settings.reuse_port)
        self._accepting = [asyncio.create_task(self._accept(each), name="accept") for each in self._sockets]
        for host, port in self.addresses():
            self._parts.log.info("listening", listener=self._listening.name, host=host, port=port)

    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where it listens."""
        return [each.getsockname()[:2] for each in self._sockets]

    async def drain(self) -> None:
        """Stop accepting and wait until every session has said BYE between two commands."""
        self._draining = True
        await self._close_sockets()
        for session in list(self._sessions):
            session.drain()
        while self._arrivals:
            await asyncio.wait(self._arrivals)

    async def stop(self) -> None:
        """End what is left."""
        self._draining = True
        await self._close_sockets()
        for session in list(self._sessions):
            session.drain()
        if self._arrivals:
            await asyncio.wait(self._arrivals, timeout=STOP_SECONDS)
        for task in list(self._arrivals):
            task.cancel()
        await asyncio.gather(*self._arrivals, return_exceptions=True)

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
                connected, peer = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._parts.log.error("cannot accept", reason=str(error))
                    await asyncio.sleep(FULL_PAUSE)
                continue
            task = asyncio.create_task(self._arrive(connected, str(peer[0])), name="session")
            self._arrivals.add(task)
            task.add_done_callback(self._arrivals.discard)

    async def _arrive(self, connected: socket.socket, address: str) -> None:
        """One connection from its acceptance to its end."""
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if any(ipaddress.ip_address(address) in network for network in self._networks):
                address = await read_proxy_header(connected, PROXY_SECONDS) or address
        except (BadProxyHeader, OSError) as error:
            self._parts.log.info("connection refused", remote=address, reason=str(error))
            connected.close()
            return
        let_in = len(self._sessions) < self._settings.max_connections and self._door.enter(address)
        if not let_in:
            await self._turn_away(connected, address)
            return
        try:
            await self._host(connected, address)
        finally:
            self._door.leave(address)

    async def _host(self, connected: socket.socket, address: str) -> None:
        parts, name = self._parts, self._listening.name
        connection = await self._connect(connected, address)
        if connection is None:
            return
        session = self._converse(parts, self._listening, connection, address)
        self._sessions.add(session)
        parts.figures.connections.labels(name).inc()
        if self._draining:
            session.drain()
        try:
            await session.run()
        except Exception:
            parts.figures.bugs.inc()
            parts.log.exception("session failed", listener=name, remote=address)
        finally:
            parts.figures.connections.labels(name).dec()
            self._sessions.discard(session)

    async def _connect(self, connected: socket.socket, address: str) -> Connection | None:
        """The connection, after the TLS handshake where TLS is implicit."""
        times = self._parts.settings.timeouts
        implicit = self._listening.implicit_tls
        # Kept here and not taken from the result: with TLS, uvloop returns its own protocol there.
        connection = Connection(times.write)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                connected,
                ssl=self._parts.tls_context() if implicit else None,
                ssl_handshake_timeout=times.tls if implicit else None,
            )
        except (OSError, TimeoutError) as error:
            self._parts.log.debug("no connection", remote=address, reason=str(error))
            connected.close()
            return None
        return connection

    async def _turn_away(self, connected: socket.socket, address: str) -> None:
        """Say why and close; where TLS is implicit plain text would be garbage, so there it only closes."""
        self._parts.figures.refused.labels(self._listening.name).inc()
        self._parts.log.warning("too many connections", listener=self._listening.name, remote=address)
        if self._listening.implicit_tls:
            connected.close()
            return
        _, connection = await asyncio.get_running_loop().connect_accepted_socket(lambda: Connection(1.0), connected)
        connection.write(self._refusal)
        try:
            await connection.flush()
        except ConnectionLost:
            return
        finally:
            await connection.close(1.0)
