"""Reception: accepts connections, asks the door, starts a session for each, and lets them end. Knows no protocol."""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Counter, Gauge
from structlog.typing import FilteringBoundLogger

from posthorn_node.listen import addresses_of, hang_up, open_all
from posthorn_node.settings import ListenerSettings
from posthorn_node.stream.connection import Connection
from posthorn_node.stream.door import Door, Full
from posthorn_node.stream.proxy import BadProxyHeader, read_header

PROXY_SECONDS = 10.0
STOP_SECONDS = 2.0
"""For sessions to end when told to stop, and again when cancelled."""
ACCEPT_PAUSE = 0.1
"""Seconds without accepting when the process is out of file descriptors."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


CHANGEABLE_OF_LISTENERS = tuple(
    f"server.listener.*.{key}"
    for key in (
        "max-connections",
        "max-connections-per-address",
        "allow-plaintext-auth",
        "proxy-networks",
        "certificate",
    )
)
"""Settings that a reception can take while it is open (`Reception.become`)."""


class Session(Protocol):
    """One connection's story."""

    async def run(self) -> None:
        """Talk until either side ends it, and close the connection."""

    def drain(self) -> None:
        """End at the next good moment."""

    def stop(self) -> None:
        """End at once."""


Converse = Callable[[Connection, str], Session]
"""Makes the session of a connection, given the client's address."""


Sockets = Callable[[ListenerSettings], list[socket.socket]]
"""Gives the listening sockets of a listener. Raises ListenError."""


def opened(listener: ListenerSettings) -> list[socket.socket]:
    """Sockets of this process alone."""
    return open_all(listener.bind, reuse_port=listener.reuse_port)


@dataclass(frozen=True, slots=True)
class ReceptionFigures:
    """The metrics of one listener."""

    open: Gauge
    refused: Counter
    bugs: Counter
    arrived: Counter | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """How clients are received.

    `refusals` is what a client hears that is not let in, nothing for what is not among them; `tls_context` is asked for
    each handshake, which may take `tls_seconds`.
    """

    door: Door
    converse: Converse
    refusals: Mapping[Full, bytes]
    tls_context: Callable[[], ssl.SSLContext]
    tls_seconds: float
    figures: ReceptionFigures
    log: FilteringBoundLogger
    sockets: Sockets = opened


class Reception:
    """One listener of the settings with all its sockets and sessions."""

    def __init__(self, settings: ListenerSettings, welcome: Welcome) -> None:
        self._own_door = Door(0, 0)
        self.become(settings, welcome)
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._sessions: set[Session] = set()
        self._arrivals: set[asyncio.Task[None]] = set()
        """The task of each connection, from its acceptance to its end."""
        self._draining = False

    def become(self, settings: ListenerSettings, welcome: Welcome) -> None:
        """Receive whoever comes from now on like this. Where it listens, and how TLS starts there, may not be other."""
        self._settings = settings
        self._welcome = welcome
        self._implicit_tls = settings.tls == "implicit"
        self._own_door.become(
            settings.max_connections, settings.max_connections_per_address or settings.max_connections
        )
        self._networks = [ipaddress.ip_network(text) for text in settings.proxy_networks]
        self._log = welcome.log.bind(listener=settings.name)

    def open(self) -> None:
        """Listen and accept. Raises ListenError."""
        self._sockets = self._welcome.sockets(self._settings)
        self._accepting = [asyncio.create_task(self._accept(each), name="accept") for each in self._sockets]
        for host, port in self.addresses():
            self._log.info("listening", host=host, port=port)

    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where it listens."""
        return addresses_of(self._sockets)

    async def drain(self) -> None:
        """Stop accepting and wait until every session has ended at its next good moment."""
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
            session.stop()
        if self._arrivals:
            await asyncio.wait(self._arrivals, timeout=STOP_SECONDS)
        for task in self._arrivals:
            task.cancel()
        if self._arrivals:
            await asyncio.wait(self._arrivals, timeout=STOP_SECONDS)

    async def _close_sockets(self) -> None:
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        self._accepting = []
        for each in self._sockets:
            hang_up(each)  # closing is not enough where another process has it open too
            each.close()
        self._sockets = []

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, peer = await loop.sock_accept(listening)
            except OSError as error:
                # A peer that went away again is its own affair; without descriptors, accepting at once would spin.
                if error.errno in _EXHAUSTED:
                    self._log.error("cannot accept", reason=str(error))
                    await asyncio.sleep(ACCEPT_PAUSE)
                continue
            task = asyncio.create_task(self._arrive(connected, str(peer[0])), name="session")
            self._arrivals.add(task)
            task.add_done_callback(self._arrivals.discard)

    async def _arrive(self, connected: socket.socket, address: str) -> None:
        """One connection from its acceptance to its end: the proxy's word, the door, the session."""
        # The same until its end: leaving must count where entering did.
        figures, door = self._welcome.figures, self._welcome.door
        if figures.arrived is not None:
            figures.arrived.inc()
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if any(ipaddress.ip_address(address) in network for network in self._networks):
                address = await read_header(connected, PROXY_SECONDS) or address
        except (BadProxyHeader, OSError) as error:
            self._log.info("connection refused", remote=address, reason=str(error))
            connected.close()
            return
        full = self._enter(address)
        if full is not None:
            self._turn_away(connected, address, full)
            return
        try:
            await self._host(connected, address)
        except Exception:  # noqa: BLE001 (the top of a connection: it ends, the others go on)
            figures.bugs.inc()
            self._log.exception("session failed", remote=address)
            connected.close()
        finally:
            self._own_door.leave(address)
            door.leave(address)

    def _enter(self, address: str) -> Full | None:
        """Through the listener's own door, and then the one that all share."""
        if full := self._own_door.enter(address):
            return full
        if full := self._welcome.door.enter(address):
            self._own_door.leave(address)
        return full

    async def _host(self, connected: socket.socket, address: str) -> None:
        figures = self._welcome.figures
        try:
            connection = await self._connect(connected)
        except (OSError, TimeoutError) as error:
            self._log.info("TLS handshake failed", remote=address, reason=str(error))
            connected.close()
            return
        session = self._welcome.converse(connection, address)
        self._sessions.add(session)
        figures.open.inc()
        if self._draining:
            session.drain()
        try:
            await session.run()
        finally:
            figures.open.dec()
            self._sessions.discard(session)

    async def _connect(self, connected: socket.socket) -> Connection:
        """From socket to connection, through a TLS handshake where TLS is implicit. Raises OSError, TimeoutError."""
        # Kept here and not taken from the result: with TLS, uvloop returns its own protocol there.
        connection = Connection()
        tls = self._welcome.tls_context() if self._implicit_tls else None
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: connection,
            connected,
            ssl=tls,
            ssl_handshake_timeout=self._welcome.tls_seconds if tls is not None else None,
        )
        return connection

    def _turn_away(self, connected: socket.socket, address: str, full: Full) -> None:
        """Say why and close, at the cost of one packet; where TLS is implicit plain text would be garbage."""
        self._welcome.figures.refused.inc()
        self._log.info("connection refused", remote=address, reason=full.value)
        if not self._implicit_tls:
            with contextlib.suppress(OSError):
                connected.send(self._welcome.refusals.get(full, b""))
        connected.close()
