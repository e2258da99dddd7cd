"""GETJMAPACCESS (RFC 9698): where the same mail is served by JMAP."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import GetJmapAccess
from posthorn_imap.protocol.responses import Answer, bad, ok, string, untagged

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def get_jmap_access(session: "Session", _command: GetJmapAccess) -> Answer:
    """The URL of the session object; BAD where none is configured, as for a command that is not known."""
    url = session.parts.jmap_url
    if not url:
        return bad("GETJMAPACCESS: JMAP is not offered here")
    session.write(untagged(b"JMAPACCESS", string(url.encode())))
    return ok("GETJMAPACCESS completed")
