"""What scripts are run with, handed in by the composition root of a service."""

from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from posthorn_delivery.programs import Programs
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
    programs: Programs = field(default_factory=Programs)
    """Compiled Sieve scripts."""
