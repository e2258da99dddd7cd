"""ENABLE (RFC 9051 6.3.1, RFC 6855, RFC 7162)."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Enable
from posthorn_imap.protocol.responses import Answer, ok, untagged

if TYPE_CHECKING:
    from posthorn_imap.session import Session


_OFFERED = {
    b"CONDSTORE": b"CONDSTORE",
    b"QRESYNC": b"QRESYNC",
    b"IMAP4REV2": b"IMAP4rev2",
    b"UTF8=ACCEPT": b"UTF8=ACCEPT",
}


async def enable(session: "Session", command: Enable) -> Answer:
    """QRESYNC brings CONDSTORE with it (RFC 7162 3.2.3)."""
    before = set(session.enabled)
    wanted = _OFFERED.keys() & command.capabilities
    if wanted & {b"QRESYNC", b"CONDSTORE"}:
        session.enable_condstore()
    session.enabled |= wanted
    session.write(untagged(b"ENABLED", *(_OFFERED[name] for name in sorted(session.enabled - before))))
    return ok("ENABLE completed")
