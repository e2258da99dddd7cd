"""The PROXY protocol of load balancers, versions 1 and 2: whose connection it is that the balancer passes on.

Read from the bare socket octet for octet up to the header's end, so that a TLS handshake behind it stays whole.
"""

import asyncio
import ipaddress
import socket

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LONGEST_LINE = 107
_LONGEST_BLOCK = 4096
_ADDRESS_OCTETS = {1: 4, 2: 16}
"""By address family of version 2."""


class BadProxyHeader(Exception):
    """A balancer that must send the header did not, or sent a broken one."""


async def read_proxy_header(connected: socket.socket, timeout: float) -> str | None:
    """The client's address; None when the balancer speaks for itself. Raises BadProxyHeader, OSError."""
    try:
        async with asyncio.timeout(timeout):
            head = await _take(connected, len(_SIGNATURE))
            if head == _SIGNATURE:
                fixed = await _take(connected, 4)
                length = int.from_bytes(fixed[2:], "big")
                if fixed[0] >> 4 != 2 or length > _LONGEST_BLOCK:
                    raise BadProxyHeader("broken PROXY header")
                return binary_source(fixed[0] & 15, fixed[1] >> 4, await _take(connected, length))
            while not head.endswith(b"\r\n"):
                if len(head) >= _LONGEST_LINE:
                    raise BadProxyHeader("PROXY line too long")
                head += await _take(connected, 1)
            return text_source(head)
    except TimeoutError:
        raise BadProxyHeader("no PROXY header in time") from None


def text_source(line: bytes) -> str | None:
    """The client's address in a line of version 1; None for UNKNOWN. Raises BadProxyHeader."""
    words = line.removesuffix(b"\r\n").decode("ascii", "replace").split(" ")
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return None
    if len(words) != 6 or words[0] != "PROXY" or words[1] not in ("TCP4", "TCP6"):
        raise BadProxyHeader("no PROXY header")
    try:
        return str(ipaddress.ip_address(words[2]))
    except ValueError:
        raise BadProxyHeader("no address in the PROXY header") from None


def binary_source(command: int, family: int, block: bytes) -> str | None:
    """The client's address in a block of version 2; None for LOCAL. Raises BadProxyHeader."""
    octets = _ADDRESS_OCTETS.get(family, 0)
    if command == 0 or not octets:
        return None
    if len(block) < octets:
        raise BadProxyHeader("PROXY header too short")
    return str(ipaddress.ip_address(block[:octets]))


async def _take(connected: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    found = b""
    while len(found) < count:
        piece = await loop.sock_recv(connected, count - len(found))
        if not piece:
            raise BadProxyHeader("closed before the PROXY header")
        found += piece
    return found
