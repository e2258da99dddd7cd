"""UNAUTHENTICATE (RFC 8437): another login on the same connection; TLS and compression stay."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Unauthenticate
from posthorn_imap.protocol.responses import Answer, ok

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def unauthenticate(session: "Session", _command: Unauthenticate) -> Answer:
    await session.log_out()
    return ok("Logged out, log in again")
