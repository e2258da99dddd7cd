"""ENABLE (RFC 9051 6.3.1, RFC 6855, RFC 7162, RFC 9586)."""

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
    b"UIDONLY": b"UIDONLY",
}


async def enable(session: "Session", command: Enable) -> Answer:
    """QRESYNC brings CONDSTORE with it (RFC 7162 3.2.3)."""
    before = session.enabled
    wanted = _OFFERED.keys() & command.capabilities
    if wanted & {b"QRESYNC", b"CONDSTORE"}:
        session.enable_condstore()
    session.enabled |= wanted
    if session.selection is not None:
        session.selection.uid_only = session.uid_only
    session.write(untagged(b"ENABLED", *(_OFFERED[name] for name in sorted(session.enabled - before))))
    return ok("ENABLE completed")
