"""ID (RFC 2971): who is talking to whom."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Id
from posthorn_imap.protocol.responses import Answer, ok, untagged

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def identify(session: "Session", command: Id) -> Answer:
    fields = {name.decode("ascii", "replace"): value.decode("utf-8", "replace") for name, value in command.fields}
    session.log.debug("client", fields=fields)
    session.write(untagged(b'ID ("name" "Posthorn")'))
    return ok("ID completed")
