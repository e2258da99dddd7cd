"""What a server that passes messages on must offer: one connection, from its opening to its loss.

A wire repairs nothing. Whatever it cannot hear for certain ends it, so that no loss stays unnoticed; the bus opens the
next one.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

Hear = Callable[[str, bytes], None]
"""Is told channel and payload of each message; may not block."""
Message = tuple[str, bytes]
"""Channel and payload."""


class Cut(Exception):
    """The connection is over; the text says why and where, and holds no secret."""


class Wire(Protocol):
    """Raises Cut when it is over, from every method but `close`."""

    place: str
    """Where it leads, to show: host, port and what the server is."""
    largest: int
    """Bytes that one payload may have."""

    async def listen(self, *channels: str) -> None:
        """Hear these channels too: every message that is sent after this has returned."""
        ...

    async def ignore(self, channel: str) -> None:
        """Hear this channel no more, soon."""
        ...

    async def send(self, messages: Sequence[Message]) -> None:
        """Hand messages over, in their order. Whether they arrived only an echo shows."""
        ...

    async def serve(self) -> None:
        """Hear until the connection is over: never returns."""
        ...

    async def close(self) -> None:
        """Hand over what waits and end it, bounded in time; never raises."""
        ...


Opening = Callable[[Hear], Awaitable[Wire]]
"""Opens a wire, on any of the servers that are known. Raises Cut."""
