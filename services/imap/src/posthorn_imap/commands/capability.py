"""CAPABILITY (RFC 9051 6.1.1)."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Capability
from posthorn_imap.protocol.responses import Answer, ok, untagged

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def capability(session: "Session", _command: Capability) -> Answer:
    session.write(untagged(session.capability_code()))
    return ok("CAPABILITY completed")
