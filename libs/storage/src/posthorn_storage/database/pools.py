"""The connections of this process to one PostgreSQL: one Database for each class of work.

A burst of one class leaves the others what is kept for them. What one does not need the others may use, so a process
that does only one kind of work needs no tuning, and there are never more connections than `PoolSizes.total`.
"""

from collections.abc import Mapping
from dataclasses import replace

from posthorn_storage.database.admission import Admission, Load
from posthorn_storage.database.database import Connections, Database
from posthorn_storage.database.limits import SHARING, WORK, DatabaseLimits, PoolSizes, Share, Work


class Pools:
    """One Database for each class of work. Open it with `Pools.open`."""

    def __init__(
        self,
        interactive: Database,
        delivery: Database,
        queue: Database,
        maintenance: Database,
        opened: list[Connections],
    ) -> None:
        self.interactive = interactive
        """For somebody who waits: sessions, listings, the directory, log-ins."""
        self.delivery = delivery
        """For mail that comes in: the combiner's batches."""
        self.queue = queue
        """For the outgoing queue's workers and for leases, which must not wait behind clients."""
        self.maintenance = maintenance
        """For what nobody waits for: purging, checking, removing, indexing. Its statements may take long."""
        self._opened = opened

    @classmethod
    async def open(
        cls,
        dsn: str,
        sizes: PoolSizes | None = None,
        limits: DatabaseLimits | None = None,
        *,
        long_statement: float = 120.0,
    ) -> "Pools":
        """Connect. `long_statement` (seconds) is the time limit of a statement of maintenance.

        Raises Unavailable when the server does not answer, does not let us in, or takes no writes.
        """
        sizes, limits = sizes or PoolSizes(), limits or DatabaseLimits()
        own = sizes.own()
        shared = replace(limits, pool_size=sizes.total - own)
        short = await Connections.open(dsn, shared)
        admission = Admission(shared.pool_size, sizes.shares(), waiting=limits.waiting)
        by_work = {work: Database(short, admission, work) for work in SHARING}
        if not own:
            return cls(**by_work, maintenance=by_work["queue"], opened=[short])
        patient = replace(limits, pool_size=own, statement=max(limits.statement, long_statement))
        long = await Connections.open(dsn, patient, first=0)
        alone = Admission(own, {"maintenance": Share(0, own)}, waiting=limits.waiting)
        return cls(**by_work, maintenance=Database(long, alone, "maintenance"), opened=[short, long])

    @property
    def opened(self) -> int:
        """How many connections are open now."""
        return sum(connections.opened for connections in self._opened)

    def load(self) -> Mapping[Work, Load]:
        """How busy each class of work is, by its name; classes that share everything have equal numbers."""
        return {work: getattr(self, work).load() for work in WORK}

    async def close(self) -> None:
        """Wait for what runs (at most some seconds), then close every connection."""
        for connections in self._opened:
            await connections.close()
