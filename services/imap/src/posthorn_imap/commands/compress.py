"""COMPRESS (RFC 4978): from behind its answer on, both sides compress. Offered to who has logged in."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Compress
from posthorn_imap.protocol.responses import Answer, bad, no, ok

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def compress(session: "Session", command: Compress) -> Answer:
    """What a client sends ahead of the answer is taken for compressed: nothing in plain text may follow the command."""
    if command.mechanism != b"DEFLATE":
        return bad("Only DEFLATE is offered")
    if session.connection.compressed:
        return no("DEFLATE is already active", b"COMPRESSIONACTIVE")
    if not session.parts.compressed.take(1):
        return no("Too many connections are compressed", b"LIMIT")

    async def begin() -> None:
        await session.connection.compress(session.framer.take_input())

    session.then = begin
    return ok("DEFLATE active")
