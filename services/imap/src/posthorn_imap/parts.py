"""What every session is handed, built once by the composition root."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from posthorn_imap.changes import Changes
from posthorn_imap.connection import ClientConnection
from posthorn_imap.figures import Figures
from posthorn_imap.logins import Logins
from posthorn_imap.mailbox_tree import OwnTrees
from posthorn_imap.memory import Budget
from posthorn_imap.settings import ImapSettings
from posthorn_model.ports import Clock
from posthorn_sasl import Terms, offered
from posthorn_storage import Storage


@dataclass(frozen=True, slots=True)
class Parts:
    storage: Storage
    changes: Changes
    trees: OwnTrees
    logins: Logins
    settings: ImapSettings
    append_memory: Budget
    body_memory: Budget
    compressed: Budget
    """Connections that compress."""
    figures: Figures
    clock: Clock
    log: FilteringBoundLogger
    tls_context: Callable[..., ssl.SSLContext]
    hostname: str
    jmap_url: str = ""
    """Of the JMAP session object of the same accounts; empty: not known."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What a session needs to know of the listener it came by."""

    name: str
    starttls: bool
    plaintext_auth: bool
    tokens: bool = False
    """Somebody judges bearer tokens."""

    def mechanisms(self, connection: ClientConnection) -> Sequence[str]:
        """Of SASL, that may be used on a connection now; none: it must be encrypted first."""
        may_log_in = connection.encrypted or self.plaintext_auth
        return offered(self.terms(connection)) if may_log_in else ()

    def terms(self, connection: ClientConnection) -> Terms:
        """What a login on a connection can rest on."""
        return Terms(connection.bindings, tokens=self.tokens)
