"""ENABLE (RFC 9051 6.3.1, RFC 7162)."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Enable
from posthorn_imap.protocol.responses import Answer, ok, untagged

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def enable(session: "Session", command: Enable) -> Answer:
    """QRESYNC brings CONDSTORE with it (RFC 7162 3.2.3)."""
    before = set(session.enabled)
    if b"QRESYNC" in command.capabilities or b"CONDSTORE" in command.capabilities:
        session.enable_condstore()
    if b"QRESYNC" in command.capabilities:
        session.enabled.add(b"QRESYNC")
    session.write(untagged(b"ENABLED", *sorted(session.enabled - before)))
    return ok("ENABLE completed")
