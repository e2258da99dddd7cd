"""The story of the roles: elected through the bus, decided by a lease, worked in fenced steps (flows D)."""

from collections.abc import Mapping

from posthorn_bus import HeldLease, role_of
from posthorn_maintenance.jobs.job import Duty, Tenure
from posthorn_maintenance.scheduler import Scheduler
from posthorn_node import Node
from posthorn_storage.purge import Share


class RoleWork:
    """What a holder of a role does. `parts` says of a role how many shares it is cut into."""

    def __init__(self, node: Node, scheduler: Scheduler, duties: Mapping[str, Duty], parts: Mapping[str, int]) -> None:
        self._log = node.log
        self._scheduler = scheduler
        self._duties = duties
        self._parts = parts
        self._held = node.metrics.gauge("role_held", "Whether this process holds the role (1)", ["role"])

    async def run(self, key: str, lease: HeldLease) -> None:
        """Work as the holder of `key` until the lease is to be handed over or was lost."""
        role, part = role_of(key)
        log = self._log.bind(role=role, epoch=lease.epoch)
        if part is not None:
            log = log.bind(part=part)
        log.info("role taken")
        self._held.labels(role).inc()
        try:
            share = Share(part or 0, self._parts.get(role, 1))
            await self._scheduler.work(self._duties[role], Tenure(role, lease, log, share))
        finally:
            self._held.labels(role).dec()
            log.info("role left")
