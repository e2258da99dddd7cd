"""The PROXY protocol, versions 1 and 2, as HAProxy writes it: who really connected. Read before anything else.

Octets are taken from the socket exactly up to the header's end, so that a TLS handshake behind it is untouched.
"""

import asyncio
import ipaddress
import re
import socket

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1 = 107
MAX_V2 = 2048
_V1 = re.compile(rb"PROXY (?:UNKNOWN.*|TCP[46] (\S+) \S+ (\d{1,5}) \d{1,5})\r\n", re.DOTALL)
_FAMILIES = {1: 4, 2: 16}


class NoHeader(Exception):
    """The peer may use the PROXY protocol and did not, or wrote it wrongly."""


async def read_header(connected: socket.socket, timeout: float) -> str:
    """The client's address, "" when the proxy speaks for itself (health checks). Raises NoHeader, OSError."""
    try:
        async with asyncio.timeout(timeout):
            start = await _exactly(connected, 8)
            if start == SIGNATURE[:8]:
                return await _version2(connected)
            while not start.endswith(b"\r\n") and len(start) < MAX_V1:
                start += await _exactly(connected, 1)
    except TimeoutError:
        raise NoHeader("no PROXY header in time") from None
    return read_version1(start)


def read_version1(line: bytes) -> str:
    """The source address of a version 1 line, "" for UNKNOWN. Raises NoHeader."""
    match = _V1.fullmatch(line)
    if match is None:
        raise NoHeader("no PROXY header")
    return _address(match[1].decode("ascii", "replace")) if match[1] else ""


def read_version2(command: int, family: int, block: bytes) -> str:
    """The source address of a version 2 address block, "" for LOCAL and unknown families. Raises NoHeader."""
    length = _FAMILIES.get(family >> 4, 0)
    if command & 0xF == 0 or not length:
        return ""
    if len(block) < 2 * length + 4:
        raise NoHeader("short PROXY address block")
    return str(ipaddress.ip_address(block[:length]))


async def _version2(connected: socket.socket) -> str:
    rest = await _exactly(connected, 8)
    size = int.from_bytes(rest[6:8], "big")
    if rest[:4] != SIGNATURE[8:] or rest[4] >> 4 != 2 or size > MAX_V2:
        raise NoHeader("broken PROXY header")
    return read_version2(rest[4], rest[5], await _exactly(connected, size))


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise NoHeader("bad address in the PROXY header") from None


async def _exactly(connected: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        piece = await loop.sock_recv(connected, count - len(data))
        if not piece:
            raise NoHeader("the connection ended")
        data += piece
    return data
