"""A mail transaction while it is open, and the client as far as it is known."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.judging.gathering import Early
from posthorn_smtp_in.protocol.commands import Mail
from posthorn_smtp_in.recipients import Recipient
from posthorn_smtp_in.spool import Spool
from posthorn_storage import AccountRecord


@dataclass(frozen=True, slots=True)
class Listener:
    """What a listener allows."""

    name: str
    kind: Kind
    starttls: bool
    plaintext_auth: bool


@dataclass(slots=True)
class Client:
    """What the client has told; all of it is forgotten when TLS starts (RFC 3207 4.2)."""

    hello: str = ""
    extended: bool = False
    account: AccountRecord | None = None


@dataclass(slots=True)
class Transaction:
    """From MAIL to the reply to the content."""

    mail: Mail
    delivery: UUID = field(default_factory=uuid4)
    recipients: list[Recipient] = field(default_factory=list)
    spool: Spool | None = None
    early: "asyncio.Future[Early] | None" = None
    """Checks on who sends, which were begun before the content was there."""
    told: Mapping[str, object] = field(default_factory=dict)
    """What they found, for the log."""

    def close(self) -> None:
        """Let go of the content, and of what is still asked for."""
        if self.early is not None:
            self.early.cancel()
            self.early = None
        if self.spool is not None:
            self.spool.close()
            self.spool = None
