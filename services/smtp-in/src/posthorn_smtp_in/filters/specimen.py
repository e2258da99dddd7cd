"""What filters are shown of a message: its envelope, and its octets in pieces, never all of them at once."""

from collections.abc import Iterator
from dataclasses import dataclass

from posthorn_smtp_in.spool import Spool

PIECE = 65535
"""Octets handed out at once: what a milter takes at the most."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends what to whom."""

    listener: str
    hostname: str
    """Ours."""
    address: str
    """The client's IP address."""
    hello: str
    account: str
    """The login, "" for nobody."""
    tls: str
    """Version and cipher, "" in plain text."""
    delivery: str
    """The delivery id."""
    sender: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Specimen:
    """A complete message that nobody has judged yet."""

    envelope: Envelope
    trace: bytes
    """The Return-Path and Received fields that we will put ahead of it."""
    head: bytes
    """Its header section, of a submission with what was mended."""
    body_at: int
    """Where in the spool the rest begins."""
    spool: Spool
    body: bytes | None = None
    """What a filter has put in place of that rest."""

    @property
    def size(self) -> int:
        """Octets of header section and body."""
        return len(self.head) + (self.spool.size - self.body_at if self.body is None else len(self.body))

    def pieces(self) -> Iterator[bytes]:
        """Header section and body."""
        for start in range(0, len(self.head), PIECE):
            yield self.head[start : start + PIECE]
        yield from self.body_pieces()

    def body_pieces(self) -> Iterator[bytes]:
        """The body."""
        start, read = (self.body_at, self.spool.read) if self.body is None else (0, self._read)
        while piece := read(start, PIECE):
            yield piece
            start += len(piece)

    def _read(self, start: int, size: int) -> bytes:
        assert self.body is not None
        return self.body[start : start + size]
