"""STARTTLS (RFC 9051 6.2.1). What was sent ahead of the handshake is dropped unread."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import StartTls
from posthorn_imap.protocol.responses import Answer, bad, ok

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def starttls(session: "Session", _command: StartTls) -> Answer:
    if session.connection.encrypted:
        return bad("TLS is already active")
    if not session.listening.starttls:
        return bad("STARTTLS is not offered here")

    async def handshake() -> None:
        await session.connection.start_tls(session.parts.tls_context(), session.parts.settings.timeouts.tls)
        session.framer.forget_input()

    session.then = handshake
    return ok("Begin TLS negotiation now")
