"""The PROXY protocol: its two versions as values, and from a socket exactly up to the header's end."""

import asyncio
import socket

import pytest

from posthorn_node.stream.proxy import BadProxyHeader, binary_source, read_header, text_source

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FROM_V4 = bytes([198, 51, 100, 7, 127, 0, 0, 1]) + b"\x30\x39\0\x19"


@pytest.mark.parametrize(
    ("line", "source"),
    [
        (b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 25\r\n", "198.51.100.7"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    ],
)
def test_lines_of_version_1(line: bytes, source: str | None) -> None:
    assert text_source(line) == source


@pytest.mark.parametrize(
    "line",
    [
        b"\r\n",
        b"HELO\r\n",
        b"PROXY TCP4 x y 1 2\r\n",
        b"PROXY TCP4 198.51.100.7\r\n",
        b"PROXY TCP4 198.51.100.7 127.0.0.1 a b\r\n",
        b"PROXY TCP4 \xff 127.0.0.1 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"proxy UNKNOWN\r\n",
        b"PROXY UNKNOWN",
    ],
)
def test_broken_lines_of_version_1(line: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        text_source(line)


def test_blocks_of_version_2() -> None:
    assert binary_source(1, 1, FROM_V4) == "198.51.100.7"
    assert binary_source(1, 2, bytes(15) + b"\x01" + bytes(20)) == "::1"
    assert binary_source(1, 1, FROM_V4 + b"extensions") == "198.51.100.7"
    assert binary_source(0, 1, b"") is None
    assert binary_source(1, 3, bytes(216)) is None
    for family, block in ((1, b"abc"), (1, FROM_V4[:-1]), (2, FROM_V4)):
        with pytest.raises(BadProxyHeader):
            binary_source(1, family, block)


async def read(data: bytes, *, end: bool = False, timeout: float = 20) -> tuple[str | None, bytes]:
    """What a header that begins `data` says, and what is left behind it."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.sendall(data)
        if end:
            far.shutdown(socket.SHUT_WR)
        source = await read_header(near, timeout)
        try:
            return source, near.recv(65536)
        except BlockingIOError:
            return source, b""


@pytest.mark.parametrize(
    ("header", "source"),
    [
        (b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 25\r\n", "198.51.100.7"),
        (b"PROXY UNKNOWN\r\n", None),
        (SIGNATURE + b"\x21\x11\0\x0c" + FROM_V4, "198.51.100.7"),
        (SIGNATURE + b"\x21\x11\0\x0f" + FROM_V4 + b"\x04\0\0", "198.51.100.7"),
        (SIGNATURE + b"\x20\0\0\0", None),
    ],
)
async def test_what_follows_a_header_is_left_in_the_socket(header: bytes, source: str | None) -> None:
    assert await read(header + b"\x16\x03\x01\r\nhello") == (source, b"\x16\x03\x01\r\nhello")
    assert await read(header) == (source, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"EHLO client.example.org\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        SIGNATURE + b"\x11\x11\0\x0c" + FROM_V4,
        SIGNATURE + b"\x21\x11\xff\xff" + bytes(65535),
        SIGNATURE + b"\x21\x11\0\x04" + FROM_V4,
    ],
)
async def test_broken_headers_are_refused_before_they_end(data: bytes) -> None:
    with pytest.raises(BadProxyHeader, match=r"no PROXY header$|broken PROXY header|too short"):
        await read(data)


@pytest.mark.parametrize("data", [b"", b"PROXY", b"PROXY TCP4 198.51.100.7", SIGNATURE + b"\x21\x11\0\x0c" + b"abc"])
async def test_a_header_that_ends_or_never_comes_is_refused(data: bytes) -> None:
    with pytest.raises(BadProxyHeader, match="closed"):
        await read(data, end=True)
    with pytest.raises(BadProxyHeader, match="in time"):
        await read(data, timeout=0.01)


async def test_a_header_may_come_octet_by_octet() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        reading = asyncio.create_task(read_header(near, 20))
        for octet in b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 25\r\n":
            far.sendall(bytes([octet]))
            await asyncio.sleep(0)
        assert await reading == "198.51.100.7"
