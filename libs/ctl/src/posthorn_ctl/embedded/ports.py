"""TCP ports of this machine that are chosen once and kept in a file, so that addresses survive a restart."""

import contextlib
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Final

LOOPBACK = "127.0.0.1"
_HELD: Final = 64
_held: deque[socket.socket] = deque(maxlen=_HELD)
"""Names of ports that this process chose last, see `_claim`. The oldest is closed as it is pushed out."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether nothing listens on the port (a connection in TIME_WAIT does not count)."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((host, port))
            return True
    return False


def free_ports(count: int, *, taken: frozenset[int] = frozenset(), first: int = 20000, last: int = 32000) -> list[int]:
    """Find ports nobody listens on, below the kernel's range for outgoing connections so that none is lent away.

    Starts at a place that depends on this process. On Linux what is chosen stays claimed until the process ends or has
    chosen _HELD others, so that clusters started together never choose the same.
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        start = first + probe.getsockname()[1] % (last - first)
    found: list[int] = []
    for offset in range(last - first):
        port = first + (start - first + offset) % (last - first)
        if port not in taken and is_free(port) and _claim(port):
            found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"no {count} free ports between {first} and {last}")


def _claim(port: int) -> bool:
    """Take the port's name among the abstract sockets, which the kernel gives to one process and takes back by itself.

    The port itself cannot be held: whatever is to listen on it could not.
    """
    if sys.platform != "linux":
        return True
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0posthorn-port-{port}")
    except OSError:
        name.close()
        return False
    if len(_held) == _HELD:
        _held.popleft().close()
    _held.append(name)
    return True


def kept_ports(path: Path, count: int) -> tuple[int, ...]:
    """The ports kept in a file while they are still free, else new ones that are kept from now on."""
    with contextlib.suppress(OSError, ValueError):
        kept = [int(word) for word in path.read_text(encoding="ascii").split()]
        if len(kept) == count and all(is_free(port) for port in kept):
            return tuple(kept)
    chosen = free_ports(count)
    path.write_text(" ".join(map(str, chosen)) + "\n", encoding="ascii")
    return tuple(chosen)
