"""A message that was judged good, on its way to its recipients."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from posthorn_delivery import NOT_SCORED, Scores
from posthorn_mail_format.octets import Octets
from posthorn_model.ids import AccountId
from posthorn_smtp_in.protocol.commands import Mail
from posthorn_smtp_in.recipients import Recipient


class Letter(NamedTuple):
    """Envelope, content with its trace fields, and who sent it. Facts of every message are tuples: made faster."""

    delivery: UUID
    mail: Mail
    recipients: Sequence[Recipient]
    content: Octets
    client_digest: bytes
    """SHA-256 of the content as the client sent it."""
    account: AccountId | None
    signs: bool = False
    """Who sent it is known to be of the sender's domain, whose DKIM keys sign it."""
    junk: bool = False
    """It goes into the mailbox for junk."""
    scores: Scores = NOT_SCORED
    """What content filters found."""
    remote: str = ""
    """The client's IP address, "" for a local socket."""
    at: float = 0.0
    """Seconds since 1970 when it was complete: what is asked of the queue counts from then."""

    @property
    def held(self) -> bool:
        """It waits in the queue for everybody, mailboxes of the cluster too (RFC 4865)."""
        return self.mail.requests.holds

    def repeat_digest(self) -> bytes:
        """What a repeat of the same message by the same client has in common with it (decision 0005)."""
        sender = self.mail.sender.encode("utf-8", "surrogateescape")
        return hashlib.sha256(len(sender).to_bytes(4, "big") + sender + self.client_digest).digest()
