"""The first words of a TLS client (RFC 8446 4.1.2): which host it asks for, what it offers. Bytes in, values out."""

from dataclasses import dataclass
from typing import Final

MAX_HELLO: Final = 16 * 1024
"""Octets; real ones are under 2,000."""
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN, _HOST_NAME = 0, 16, 0


class BadHello(Exception):
    """What a client sent is no ClientHello, or one that is too long."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The host that is asked for (RFC 6066 3), "" for none, and the protocols that are offered (RFC 7301)."""

    name: str
    protocols: tuple[str, ...]


def client_hello(data: bytes) -> Hello | None:
    """Read what has come of a connection so far; None while more must come. Raises BadHello."""
    message = _message(data)
    if message is None:
        if len(data) >= MAX_HELLO:
            raise BadHello("too long")
        return None
    reader = _Reader(message)
    reader.take(2 + 32)  # version and random
    reader.block(1)  # session
    reader.block(2)  # cipher suites
    reader.block(1)  # compression
    name = ""
    protocols: tuple[str, ...] = ()
    if reader.left:
        extensions = _Reader(reader.block(2))
        while extensions.left:
            kind = extensions.number(2)
            content = _Reader(extensions.block(2))
            if kind == _SERVER_NAME and content.left:
                name = _host(_Reader(content.block(2)))
            elif kind == _ALPN:
                protocols = _protocols(_Reader(content.block(2)))
    return Hello(name, protocols)


def _message(data: bytes) -> bytes | None:
    """The handshake message in one or several records; None while they are not whole. Raises BadHello."""
    found, place = b"", 0
    while True:
        if len(found) >= 4:
            if found[0] != _CLIENT_HELLO:
                raise BadHello("another message")
            length = int.from_bytes(found[1:4], "big")
            if length > MAX_HELLO:
                raise BadHello("too long")
            if len(found) >= 4 + length:
                return found[4 : 4 + length]
        head = data[place : place + 5]
        if head and head[0] != _HANDSHAKE:
            raise BadHello("no TLS")
        length = int.from_bytes(head[3:5], "big")
        if len(head) < 5 or len(data) < place + 5 + length:
            return None
        if not length:
            raise BadHello("an empty record")
        found += data[place + 5 : place + 5 + length]
        place += 5 + length


def _host(names: "_Reader") -> str:
    while names.left:
        kind, value = names.number(1), names.block(2)
        if kind == _HOST_NAME:
            return value.decode("ascii", "replace").lower()
    return ""


def _protocols(names: "_Reader") -> tuple[str, ...]:
    found = []
    while names.left:
        found.append(names.block(1).decode("ascii", "replace"))
    return tuple(found)


class _Reader:
    """Octets, taken from the front. Raises BadHello at their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._place

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise BadHello("cut short")
        self._place += count
        return self._data[self._place - count : self._place]

    def number(self, octets: int) -> int:
        return int.from_bytes(self.take(octets), "big")

    def block(self, octets: int) -> bytes:
        """What follows a length of so many octets."""
        return self.take(self.number(octets))
