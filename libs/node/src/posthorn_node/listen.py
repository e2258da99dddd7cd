"""Opens listening sockets, and says plainly why one cannot be opened and what to do about it."""

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from posthorn_node.errors import ListenError
from posthorn_node.settings import parse_bind

BACKLOG = 2048

__all__ = [
    "BACKLOG",
    "ListenError",
    "addresses_of",
    "hang_up",
    "open_all",
    "open_sockets",
    "parse_bind",
    "shared_sockets",
]


def open_sockets(bind: str, *, reuse_port: bool = False, backlog: int | None = BACKLOG) -> list[socket.socket]:
    """Listening, non-blocking TCP sockets for "host:port", one per address the host stands for.

    "*" listens on IPv6 and IPv4. With port 0 the first socket chooses and the others follow. `reuse_port` lets
    several processes of one user share the port. Without `backlog` they are bound and not listening yet: clients
    are refused, or go to those that share the port. Raises ListenError.
    """
    try:
        host, port = parse_bind(bind)
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except ValueError as error:
        raise ListenError(str(error)) from None
    except OSError as error:
        raise ListenError(f"cannot listen on {bind}: the host name is not known ({error.strerror})") from error
    # IPv6 first: with "*" it tells whether this machine has it at all.
    addresses = sorted({(family, address) for family, _, _, _, address in found}, key=lambda each: -each[0])
    with ExitStack() as opened:
        sockets: list[socket.socket] = []
        for family, address in addresses:
            if sockets and not port:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                listening = _open(family, address, reuse_port=reuse_port, backlog=backlog)
            except OSError as error:
                if not host and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and len(addresses) > 1:
                    continue
                raise ListenError(_reason(bind, address, error)) from error
            sockets.append(opened.enter_context(listening))
        opened.pop_all()
        return sockets


def open_all(binds: Sequence[str], *, reuse_port: bool = False, backlog: int | None = BACKLOG) -> list[socket.socket]:
    """The sockets of several binds, or none of them. Raises ListenError."""
    with ExitStack() as opened:
        sockets = []
        for bind in binds:
            for listening in open_sockets(bind, reuse_port=reuse_port, backlog=backlog):
                sockets.append(opened.enter_context(listening))
        opened.pop_all()
        return sockets


def shared_sockets(binds: Sequence[str], count: int, *, reuse_port: bool = False) -> list[list[socket.socket]]:
    """For each of `count` processes sockets of its own on the same addresses: bound, not listening yet.

    The kernel gives each client to one of those that listen. Unless `reuse_port`, a port that somebody else has is
    refused, although it could be shared too. Raises ListenError.
    """
    with ExitStack() as opened:
        probes = [opened.enter_context(each) for each in open_all(binds, reuse_port=reuse_port)]
        chosen = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses_of(probes)]
    with ExitStack() as opened:
        found = []
        for _ in range(count):
            own = open_all(chosen, reuse_port=True, backlog=None)
            for each in own:
                opened.enter_context(each)
            found.append(own)
        opened.pop_all()
        return found


def hang_up(listening: socket.socket) -> None:
    """Have a socket listen no more, in whatever process it is open too; it stays bound, and may listen again."""
    with suppress(OSError):  # it was not listening
        listening.shutdown(socket.SHUT_RDWR)


def addresses_of(sockets: Sequence[socket.socket]) -> list[tuple[str, int]]:
    """Host and port each socket really listens on."""
    return [listening.getsockname()[:2] for listening in sockets]


def _open(family: int, address: tuple[object, ...], *, reuse_port: bool, backlog: int | None) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        if backlog is not None:
            listening.listen(backlog)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _reason(bind: str, address: tuple[object, ...], error: OSError) -> str:
    advice = {
        errno.EADDRINUSE: "the port is taken by another process; stop that process or choose another port",
        errno.EACCES: "not allowed; ports below 1024 need root or CAP_NET_BIND_SERVICE, or choose a higher port",
        errno.EADDRNOTAVAIL: f"{address[0]} is no address of this machine; choose one that is, or *",
    }
    return f"cannot listen on {bind}: {advice.get(error.errno or 0, os.strerror(error.errno or 0))}"
