"""What every session is handed by the composition root."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from posthorn_delivery import Scripts
from posthorn_model.events import Event
from posthorn_model.ports import Clock
from posthorn_node.stream.door import Door
from posthorn_smtp_in.figures import Figures
from posthorn_smtp_in.filters.roster import Roster
from posthorn_smtp_in.judging.judging import Judging
from posthorn_smtp_in.settings import SmtpInSettings
from posthorn_smtp_in.turns import Turns
from posthorn_storage import Storage


@dataclass(frozen=True, slots=True)
class Parts:
    """Shared by all sessions of a process; each listener has its own settings and its own `tls_context`."""

    settings: SmtpInSettings
    hostname: str
    storage: Storage
    publish: Callable[[Event], None]
    tls_context: Callable[..., ssl.SSLContext]
    """What TLS starts with; `certificate` names the one that is to be shown."""
    clock: Clock
    log: FilteringBoundLogger
    figures: Figures
    filters: Roster
    judging: Judging
    door: Door
    spool: Path
    """Folder for content that is too large to be kept in memory while it arrives."""
    large: asyncio.Semaphore
    """How many spooled messages may be scanned and stored at once."""
    scripts: Scripts
    """What the Sieve scripts of accounts are run with, and what is passed on is sealed with."""
    turns: Turns = field(default_factory=Turns)
    """Of messages that have arrived."""
