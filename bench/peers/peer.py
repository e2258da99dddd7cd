"""A server that takes mail, as the rows of smtp-in see it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

DOMAIN = "example.org"
USERS = 20


def recipients() -> list[str]:
    """Whom mail is for: every server has these mailboxes."""
    return [f"u{number}@{DOMAIN}" for number in range(USERS)]


async def nothing_stored() -> int:
    """How many messages are in the mailboxes of a server that only relays."""
    return 0


class Missing(Exception):
    """A program or a library that a peer needs is not here."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server: where it takes mail, and how many messages are in its mailboxes."""

    name: str
    host: str
    port: int
    stored: Callable[[], Awaitable[int]]
    roots: Sequence[int]
    """The processes that all its processes descend from."""
