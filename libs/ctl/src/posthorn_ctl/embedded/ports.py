"""TCP ports of this machine that are chosen once and kept in a file, so that addresses survive a restart."""

import contextlib
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"


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

    Starts at a place that depends on this process, so that clusters started together seldom meet.
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        start = first + probe.getsockname()[1] % (last - first)
    found: list[int] = []
    for offset in range(last - first):
        port = first + (start - first + offset) % (last - first)
        if port not in taken and is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"no {count} free ports between {first} and {last}")


def kept_ports(path: Path, count: int) -> tuple[int, ...]:
    """The ports kept in a file while they are still free, else new ones that are kept from now on."""
    with contextlib.suppress(OSError, ValueError):
        kept = [int(word) for word in path.read_text(encoding="ascii").split()]
        if len(kept) == count and all(is_free(port) for port in kept):
            return tuple(kept)
    chosen = free_ports(count)
    path.write_text(" ".join(map(str, chosen)) + "\n", encoding="ascii")
    return tuple(chosen)
