"""NOOP and CHECK: a look at the store, so that clients that poll hear of everything (RFC 9051 6.1.2)."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Check, Noop
from posthorn_imap.protocol.responses import Answer, ok

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def noop(session: "Session", command: Noop | Check) -> Answer:
    if session.selection is not None:
        await session.selection.feed.refresh()
    return ok("NOOP completed" if isinstance(command, Noop) else "CHECK completed")
