"""What scripts are run with, handed in by the composition root of a service."""

from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from posthorn_delivery.keys import DomainKeys
from posthorn_delivery.programs import Programs
from posthorn_delivery.sealing import Sealer
from posthorn_model.ports import Clock
from posthorn_storage import Storage


@dataclass(frozen=True, slots=True)
class Scripts:
    """One for a process."""

    storage: Storage
    hostname: str
    """Ours, in what is written to people."""
    clock: Clock
    log: FilteringBoundLogger
    sealer: Sealer
    """Of what is passed on to others, by scripts and by addresses."""
    programs: Programs = field(default_factory=Programs)
    """Compiled Sieve scripts."""


def make_scripts(storage: Storage, hostname: str, clock: Clock, log: FilteringBoundLogger, *, seal: bool) -> Scripts:
    """Put them together; `seal`: the settings want that what is passed on is sealed."""
    keys = DomainKeys(storage.dkim, clock.monotonic) if seal else None
    return Scripts(storage, hostname, clock, log, Sealer(keys, clock, log))
