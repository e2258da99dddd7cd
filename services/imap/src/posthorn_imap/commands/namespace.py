"""NAMESPACE (RFC 9051 6.3.10): one personal namespace without a prefix."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Namespace
from posthorn_imap.protocol.responses import Answer, ok, untagged

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def namespace(session: "Session", _command: Namespace) -> Answer:
    session.write(untagged(b'NAMESPACE (("" "/")) NIL NIL'))
    return ok("NAMESPACE completed")
