"""NAMESPACE (RFC 9051 6.3.10): one's own mailboxes without a prefix, and those that other users share."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Namespace
from posthorn_imap.protocol.responses import Answer, ok, untagged
from posthorn_imap.protocol.shared_names import PREFIX

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def namespace(session: "Session", _command: Namespace) -> Answer:
    session.write(untagged(b'NAMESPACE (("" "/")) (("' + PREFIX.encode() + b'" "/")) NIL'))
    return ok("NAMESPACE completed")
