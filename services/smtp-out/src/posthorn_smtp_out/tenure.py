"""One shard under one lease: what its attempts share, and what ends with it."""

import asyncio
from dataclasses import dataclass, field

from posthorn_bus.leases import HeldLease
from posthorn_smtp_out.ledger import Ledger
from posthorn_smtp_out.pool import Pool
from posthorn_smtp_out.routes import Destination


@dataclass(frozen=True, slots=True)
class Tenure:
    """`shared` are this process's connections to relays and to sites that are spread; `sites` end with the lease."""

    shard: int
    lease: HeldLease
    ledger: Ledger
    sites: Pool
    shared: Pool
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process is about to end: nothing new may be started."""

    def may_start(self) -> bool:
        """Whether a transaction may be begun now."""
        return not self.leaving.is_set() and self.lease.may_start()

    def ends(self) -> bool:
        """Whether the shard is to be given back, or has been lost."""
        return self.leaving.is_set() or self.lease.ending.is_set()

    def pool(self, destination: Destination) -> Pool:
        """The connections to a destination: other sites are one shard's, and so one owner's in the whole cluster."""
        return self.shared if destination.shared else self.sites
