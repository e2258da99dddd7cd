"""The connections of this process to one PostgreSQL: one Database for each class of work.

A burst of one class leaves the others what is kept for them. What one does not need the others may use, so a process
that does only one kind of work needs no tuning, and there are never more connections than `PoolSizes.total`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from posthorn_model.events import Changed
from posthorn_model.ids import AccountId
from posthorn_storage.database.admission import Admission, Load
from posthorn_storage.database.database import Connections, Database
from posthorn_storage.database.limits import (
    SHARING,
    WORK,
    DatabaseLimits,
    PoolSizes,
    Regions,
    ReplicaLimits,
    Share,
    Work,
)
from posthorn_storage.database.reading import Notify, Replicas

T = TypeVar("T")


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
        self.replicas: Replicas | None = None
        """None without read replicas."""
        self._opened = opened

    @classmethod
    async def open(
        cls,
        dsn: str,
        sizes: PoolSizes | None = None,
        limits: DatabaseLimits | None = None,
        *,
        long_statement: float = 120.0,
        replicas: Sequence[str] = (),
        reading: ReplicaLimits | None = None,
        regions: Regions | None = None,
    ) -> "Pools":
        """Connect. `long_statement` (seconds) is the time limit of a statement of maintenance.

        `replicas` are the DSNs of read replicas; those that are down now are used when they are up. `regions` says
        which of them are near.

        Raises Unavailable when the server does not answer, does not let us in, or takes no writes.
        """
        sizes, limits = sizes or PoolSizes(), limits or DatabaseLimits()
        own = sizes.own()
        shared = replace(limits, pool_size=sizes.total - own)
        short = await Connections.open(dsn, shared)
        admission = Admission(shared.pool_size, sizes.shares(), waiting=limits.waiting)
        by_work = {work: Database(short, admission, work) for work in SHARING}
        if own:
            patient = replace(limits, pool_size=own, statement=max(limits.statement, long_statement))
            long = await Connections.open(dsn, patient, first=0)
            alone = Admission(own, {"maintenance": Share(0, own)}, waiting=limits.waiting)
            opened = cls(**by_work, maintenance=Database(long, alone, "maintenance"), opened=[short, long])
        else:
            opened = cls(**by_work, maintenance=by_work["queue"], opened=[short])
        if replicas:
            near = regions or Regions()
            opened.replicas = await Replicas.open(opened.queue, replicas, limits, reading or ReplicaLimits(), near)
        return opened

    async def read(self, account: AccountId, work: Callable[[Database], Awaitable[T]]) -> T:
        """Run `work`, which only reads what belongs to `account` and decides nothing by it, where that may be done.

        Without replicas that is `interactive`. `work` may run twice. Raises what it raises on the primary.
        """
        if self.replicas is None:
            return await work(self.interactive)
        return await self.replicas.read(self.interactive, account, work)

    def telling(self, notify: Notify) -> Notify:
        """What to call after a commit instead of `notify`, so that replicas are not read from before they have it."""
        replicas = self.replicas
        return notify if replicas is None else lambda event: replicas.changed(event, notify)

    def heard(self, event: Changed) -> None:
        """Another process changed an account: call it before anybody hears of it who may read."""
        if self.replicas is not None:
            self.replicas.heard(event)

    def seen(self, accounts: Sequence[AccountId]) -> None:
        """These accounts' modseqs were read on the primary."""
        if self.replicas is not None:
            self.replicas.seen(accounts)

    @property
    def opened(self) -> int:
        """How many connections are open now."""
        return sum(connections.opened for connections in self._opened)

    @property
    def idle(self) -> int:
        """How many of them nothing uses."""
        return sum(connections.idle for connections in self._opened)

    def load(self) -> Mapping[Work, Load]:
        """How busy each class of work is, by its name; classes that share everything have equal numbers."""
        return {work: getattr(self, work).load() for work in WORK}

    async def close(self) -> None:
        """Wait for what runs (at most some seconds), then close every connection."""
        if self.replicas is not None:
            await self.replicas.close()
        for connections in self._opened:
            await connections.close()
