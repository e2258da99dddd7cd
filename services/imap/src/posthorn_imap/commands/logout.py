"""LOGOUT (RFC 9051 6.1.3)."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Logout
from posthorn_imap.protocol.responses import Answer, bye, ok

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def logout(session: "Session", _command: Logout) -> Answer:
    await session.deselect()
    session.end(bye("Logging out"))
    return ok("LOGOUT completed")
