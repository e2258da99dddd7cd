"""The PROXY protocol of load balancers, versions 1 and 2: whose connection it is that a balancer passes on.

Read before anything else and from the bare socket, octet for octet up to the header's end, so that a TLS handshake
behind it stays whole.
"""

import asyncio
import ipaddress
import re
import socket

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LONGEST_LINE = 107
_LONGEST_BLOCK = 4096
_LINE = re.compile(rb"PROXY (?:UNKNOWN(?: .*)?|TCP[46] (\S+) \S+ \d{1,5} \d{1,5})\r\n", re.DOTALL)
_ADDRESS_OCTETS = {1: 4, 2: 16}
"""By address family of version 2."""


class BadProxyHeader(Exception):
    """A balancer that must send the header did not, or sent a broken one."""


async def read_header(connected: socket.socket, timeout: float) -> str | None:
    """The client's address; None when the balancer speaks for itself (health checks).

    Raises BadProxyHeader, also after `timeout` seconds, and OSError.
    """
    try:
        async with asyncio.timeout(timeout):
            head = await _take(connected, len(_SIGNATURE))
            if head == _SIGNATURE:
                fixed = await _take(connected, 4)
                length = int.from_bytes(fixed[2:], "big")
                if fixed[0] >> 4 != 2 or length > _LONGEST_BLOCK:
                    raise BadProxyHeader("broken PROXY header")
                return binary_source(fixed[0] & 15, fixed[1] >> 4, await _take(connected, length))
            while not head.endswith(b"\r\n") and len(head) < _LONGEST_LINE:
                head += await _take(connected, 1)
            return text_source(head)
    except TimeoutError:
        raise BadProxyHeader("no PROXY header in time") from None


def text_source(line: bytes) -> str | None:
    """The client's address in a line of version 1; None for UNKNOWN. Raises BadProxyHeader."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadProxyHeader("no PROXY header")
    if match[1] is None:
        return None
    try:
        return str(ipaddress.ip_address(match[1].decode("ascii", "replace")))
    except ValueError:
        raise BadProxyHeader("no address in the PROXY header") from None


def binary_source(command: int, family: int, block: bytes) -> str | None:
    """The client's address in an address block of version 2; None for LOCAL and other families.

    Raises BadProxyHeader.
    """
    octets = _ADDRESS_OCTETS.get(family, 0)
    if command == 0 or not octets:
        return None
    if len(block) < 2 * octets + 4:
        raise BadProxyHeader("PROXY header too short")
    return str(ipaddress.ip_address(block[:octets]))


async def _take(connected: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    found = b""
    while len(found) < count:
        piece = await loop.sock_recv(connected, count - len(found))
        if not piece:
            raise BadProxyHeader("closed before the end of the PROXY header")
        found += piece
    return found
