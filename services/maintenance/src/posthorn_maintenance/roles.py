"""The story of the roles: elected through the bus, decided by a lease, worked in fenced steps (flows D)."""

import asyncio
from collections.abc import Mapping
from typing import Final

from structlog.typing import FilteringBoundLogger

from posthorn_bus import HeldLease, Owner, role_of
from posthorn_maintenance.jobs.job import Duty, Tenure
from posthorn_maintenance.scheduler import Scheduler
from posthorn_model.errors import PosthornError
from posthorn_model.ids import NodeId
from posthorn_node.node import Node
from posthorn_storage.purge import Share
from posthorn_storage.roles import Lists, RoleStore

WISH_SECONDS: Final = 1.0
"""How often is looked who shall hold a role."""
PROBLEM_SECONDS: Final = 30.0
"""How often the lists of all nodes are compared."""


class RoleWork:
    """What a holder of a role does. `parts` says of a role how many shares it is cut into."""

    def __init__(
        self,
        node: Node,
        node_id: NodeId,
        roles: RoleStore,
        scheduler: Scheduler,
        duties: Mapping[str, Duty],
        parts: Mapping[str, int],
    ) -> None:
        self._log = node.log
        self._node_id = node_id
        self._roles = roles
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
            tenure = Tenure(role, lease, log, Share(part or 0, self._parts.get(role, 1)))
            try:
                await self._roles.take(tenure.fence, self._node_id)
            except PosthornError as error:
                log.warning("it is not noted who holds the role", reason=error.public)
            await self._scheduler.work(self._duties[role], tenure)
        finally:
            self._held.labels(role).dec()
            log.info("role left")


async def follow_wishes(owner: Owner, roles: RoleStore, log: FilteringBoundLogger) -> None:
    """Tell the election, for ever, who shall hold which role."""
    while True:
        try:
            owner.wish(await roles.wishes())
        except PosthornError as error:
            log.warning("wishes for roles not read", reason=error.public)
        await asyncio.sleep(WISH_SECONDS)


async def watch_lists(roles: RoleStore, boot: str, lists: Lists, log: FilteringBoundLogger) -> None:
    """Declare the lists of this process, and tell, for ever, what is wrong with those of all nodes together.

    Each thing is told once, and when it is over.
    """
    told: set[str] = set()
    while True:
        try:
            await roles.declare(boot, lists)
            found = set(await roles.problems())
        except PosthornError as error:
            log.warning("lists of roles not compared", reason=error.public)
        else:
            for problem in sorted(found - told):
                log.warning("the lists of roles are not right", reason=problem)
            for problem in sorted(told - found):
                log.info("the lists of roles are right again", reason=problem)
            told = found
        await asyncio.sleep(PROBLEM_SECONDS)
