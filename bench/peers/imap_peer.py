"""A server of mailboxes, as the rows of imap see it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

PASSWORD = "Twelve-Angry-Pears"
USERS = 20


async def at_once() -> None:
    """Nothing is left to be done when a command is answered."""


@dataclass(frozen=True, slots=True)
class ImapPeer:
    """A running server: where it listens, and by what names users log in."""

    name: str
    host: str
    port: int
    tls_port: int
    user: Callable[[int], str]
    roots: Sequence[int]
    """The processes that all its processes descend from."""
    settled: Callable[[], Awaitable[None]] = at_once
    """Waits until all that is done behind the answers is done, as is the search index."""
