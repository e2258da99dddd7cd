"""One shard under one lease: what its attempts share, and what ends with it."""

from dataclasses import dataclass

from posthorn_bus.leases import HeldLease
from posthorn_smtp_out.ledger import Ledger
from posthorn_smtp_out.pool import Pool
from posthorn_smtp_out.routes import Destination


@dataclass(frozen=True, slots=True)
class Tenure:
    """`relays` are this process's connections to relays, which all its shards share; `sites` end with the lease."""

    shard: int
    lease: HeldLease
    ledger: Ledger
    sites: Pool
    relays: Pool

    def pool(self, destination: Destination) -> Pool:
        """The connections to a destination: one site is one shard's, and so one owner's in the whole cluster."""
        return self.sites if destination.relay is None else self.relays
