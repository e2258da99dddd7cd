"""IDLE (RFC 2177): every change is written as soon as it is known, until the client says DONE."""

from typing import TYPE_CHECKING

from posthorn_imap import notifications
from posthorn_imap.access import reassess
from posthorn_imap.protocol.commands import Idle
from posthorn_imap.protocol.responses import Answer, bad, bye, continuation, ok

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def idle(session: "Session", _command: Idle) -> Answer:
    if session.selection is not None:
        await session.selection.feed.refresh()
    session.write(continuation("idling"))
    session.framer.expect_line()
    session.idle(on=True)
    try:
        line = await _until_done(session)
    finally:
        session.idle(on=False)
    if line is None:
        return ok("IDLE ended")
    return ok("IDLE completed") if line.upper() == b"DONE" else bad("expected DONE")


async def _until_done(session: "Session") -> bytes | None:
    """The line that ends it; None when the server does."""
    while True:
        await reassess(session)
        if session.selection is not None and session.selection.lost is not None:
            session.end(session.selection.lost)
            return None
        await session.tell(expunges=True)
        await session.update_contexts()
        if session.notifications is not None:
            await notifications.tell(session)
        if session.draining:
            session.end(bye("Server shutting down", b"UNAVAILABLE"))
            return None
        try:
            line = await session.read_line(session.parts.settings.timeouts.idle_keepalive)
        except TimeoutError:
            session.write(ok("Still here").line())
            continue
        if line is not None:
            return line
