"""The story of the roles: elected through the bus, decided by a lease, worked in fenced steps (flows D)."""

import asyncio
from collections.abc import Callable, Mapping

from posthorn_bus import HeldLease, role_of
from posthorn_maintenance.jobs import purge_accounts, purge_stores
from posthorn_maintenance.jobs.calculate import ClusterFigures
from posthorn_maintenance.jobs.index_messages import Indexing
from posthorn_maintenance.jobs.moves import MoveKeeper
from posthorn_maintenance.jobs.scrub import BlobScrub
from posthorn_maintenance.jobs.steps import Step, work_off
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_model.events import Control
from posthorn_node import Node
from posthorn_storage import Fence, Storage

ROLES = ("purge.stores", "purge.accounts", "metrics.calculate", "index.messages")
"""The roles that this service can do; those named in the settings beyond them have no work yet."""


class RoleWork:
    """What a holder of a role does, role by role."""

    def __init__(
        self,
        node: Node,
        storage: Storage,
        settings: MaintenanceSettings,
        publish: Callable[[Control], None],
        parts: Mapping[str, int] | None = None,
    ) -> None:
        """`parts` says of a role how many shares it is cut into; those not named there are whole."""
        self._storage = storage
        self._moves = MoveKeeper(storage, publish)
        self._settings = settings
        self._log = node.log
        self._parts = parts or {}
        self._indexing = Indexing(node.metrics, settings)
        self._figures = ClusterFigures(node.metrics)
        self._scrub = BlobScrub(node.metrics)
        self._removed = node.metrics.counter("purge_removed", "Rows removed by purge steps", ["step"])
        self._ran = node.metrics.gauge("purge_last_run_timestamp_seconds", "When a purge step last ended", ["step"])
        self._held = node.metrics.gauge("role_held", "Whether this process holds the role (1)", ["role"])

    async def run(self, key: str, lease: HeldLease) -> None:
        """Work as the holder of `key` until the lease is to be handed over or was lost."""
        role, part = role_of(key)
        self._log.info("role taken", role=role, epoch=lease.epoch)
        self._held.labels(role).set(1)
        try:
            if role == "metrics.calculate":
                await self._figures.keep(self._storage, lease, self._settings.metrics_interval, self._log)
            elif role == "index.messages":
                await self._indexing.run(
                    self._storage.search, lease, self._log, part=part or 0, parts=self._parts.get(role, 1)
                )
            elif role == "purge.stores":
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._purge(role, lease))
                    both.create_task(self._scrub.keep(self._storage, lease, self._settings, self._log))
            elif role == "purge.accounts":
                await asyncio.gather(self._purge(role, lease), self._look_after_moves(lease))
            else:
                await self._purge(role, lease)
        finally:
            self._held.labels(role).set(0)
            self._log.info("role left", role=role, epoch=lease.epoch)

    async def _purge(self, role: str, lease: HeldLease) -> None:
        make = purge_stores.steps if role == "purge.stores" else purge_accounts.steps
        steps: Mapping[str, Step] = make(self._storage, Fence(lease.key, lease.epoch), self._settings)
        await self._work_off(lease, steps, self._settings.purge_interval)

    async def _look_after_moves(self, lease: HeldLease) -> None:
        """Often: an account whose move was cut short while it was frozen takes no mail until somebody has looked."""
        await self._work_off(lease, {"cut-short-moves": self._moves.recover, "moved-accounts": self._moves.clean}, 5.0)

    async def _work_off(self, lease: HeldLease, steps: Mapping[str, Step], pause: float) -> None:
        await work_off(
            lease,
            steps,
            batch=self._settings.purge_batch,
            pause=pause,
            log=self._log,
            done=self._note,
        )

    def _note(self, step: str, count: int) -> None:
        self._removed.labels(step).inc(count)
        self._ran.labels(step).set_to_current_time()
