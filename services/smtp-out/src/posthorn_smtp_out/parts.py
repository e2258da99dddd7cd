"""What the work on every shard is handed by the composition root."""

from collections.abc import Callable
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from posthorn_delivery import Scripts
from posthorn_model.ports import Clock
from posthorn_smtp_out.brakes import Brakes
from posthorn_smtp_out.figures import Figures
from posthorn_smtp_out.outcomes import Policy
from posthorn_smtp_out.pool import Pool
from posthorn_smtp_out.routes import Router
from posthorn_smtp_out.settings import SmtpOutSettings
from posthorn_smtp_out.signing import Signer
from posthorn_smtp_out.sources import Sources
from posthorn_smtp_out.spreading import Spreads
from posthorn_smtp_out.suppression import Suppressing
from posthorn_smtp_out.warming import Warming
from posthorn_storage import Storage
from posthorn_storage.queue import Attempts


@dataclass(frozen=True, slots=True)
class Parts:
    """Shared by all shards of a process."""

    settings: SmtpOutSettings
    hostname: str
    storage: Storage
    attempts: Attempts
    router: Router
    sources: Sources
    pool: Pool
    """The connections to relays and to sites that are spread."""
    new_pool: Callable[[], Pool]
    """Makes the pool of a shard for one tenure."""
    signer: Signer
    policy: Policy
    brakes: Brakes
    spreads: Spreads
    suppressing: Suppressing
    warming: Warming
    clock: Clock
    """The database's: due times are judged by it, on whatever node."""
    scripts: Scripts
    """What the Sieve scripts of accounts are run with, and what is passed on is sealed with."""
    log: FilteringBoundLogger
    figures: Figures
