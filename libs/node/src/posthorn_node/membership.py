"""This process's place in the cluster: a node id that no other live node has, and a heartbeat that says it lives."""

import asyncio
import datetime
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from posthorn_model.cluster import DRAIN, Process, Standing
from posthorn_model.errors import DuplicateNode, LeaseLost, PosthornError
from posthorn_model.ids import NodeId
from posthorn_model.ports import NodeStore
from posthorn_node.backoff import Backoff

if TYPE_CHECKING:
    from posthorn_node.node import Node


def load_of_machine() -> float:
    """Share of the processors in use over the last minute, 0.0 (idle) to 1.0 (all busy)."""
    return min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Membership:
    """Joins, beats, leaves. `load` tells how busy the process is, from 0.0 to 1.0."""

    def __init__(self, node: "Node", store: NodeStore, load: Callable[[], float] = load_of_machine) -> None:
        self._node = node
        self._store = store
        self._load = load
        self._started = datetime.datetime.fromtimestamp(node.clock.time(), datetime.UTC)
        self._id: NodeId | None = None
        self._left = False
        self._saying = asyncio.Lock()
        """One word at a time: a heartbeat that came behind the farewell would bring this process back to life."""
        self.standing = Standing(held=False)
        """What the latest heartbeat found out."""
        self.told: Callable[[Standing], None] = lambda _standing: None
        """Called with what each heartbeat finds out. May not block or raise."""

    @property
    def node_id(self) -> NodeId:
        """The id this process belongs to; only after join()."""
        if self._id is None:
            raise RuntimeError("the node has not joined")
        return self._id

    async def join(self) -> None:
        """Claim the node id, write the first heartbeat and keep beating in the background.

        Waits for the database as long as it takes. A fixed id that a former life of this node may still hold is
        asked for until that lease must have ended; held still, DuplicateNode is raised.
        """
        settings = self._node.settings.cluster
        fixed = NodeId(settings.node_id) if isinstance(settings.node_id, int) else None
        clock = self._node.clock
        patience = clock.monotonic() + settings.lease_ttl + settings.heartbeat
        backoff = Backoff(0.2, 2.0)
        while True:
            try:
                self._id = await self._store.claim_node(fixed, self._node.token, settings.lease_ttl)
                break
            except DuplicateNode as error:
                if clock.monotonic() >= patience:
                    raise
                self._node.log.warning("node id is still held; waiting for its lease to end", reason=error.public)
            except PosthornError as error:
                if not error.temporary:
                    raise
                self._node.log.warning("cannot claim a node id yet", reason=error.public)
                patience = clock.monotonic() + settings.lease_ttl + settings.heartbeat
            await asyncio.sleep(backoff.next())
        self._node.identity.node = str(self._id)
        self._node.log.info("joined the cluster", region=settings.region)
        await self._beat()
        self._node.tasks.start("heartbeat", self._beat_on())

    async def leave(self) -> None:
        """Say that this process is gone; a database that does not answer finds out by the missing heartbeat."""
        self._left = True
        if self._id is None:
            return
        try:
            async with self._saying:
                await self._store.leave(self._node.boot)
        except PosthornError as error:
            self._node.log.warning("could not leave the node table", reason=error.public)

    async def _beat_on(self) -> None:
        while not self._left:
            await asyncio.sleep(self._node.settings.cluster.heartbeat)
            await self._beat()

    async def _beat(self) -> None:
        """One heartbeat, which hears what is wished too; none of who has left.

        Raises LeaseLost, which ends the process, when the node id belongs to another node.
        """
        async with self._saying:
            standing = None if self._left else await self._say()
        if standing is None:
            return
        if not standing.held:
            raise LeaseLost(f"node id {self.node_id} was taken by another node")
        self.standing = standing
        self.told(standing)
        if standing.wish == DRAIN:
            self._node.leave("the operator drains this node")

    async def _say(self) -> Standing | None:
        """Write how this process is; None when the database does not answer."""
        settings = self._node.settings
        process = Process(
            node=self.node_id,
            service=self._node.service,
            boot=self._node.boot,
            hostname=settings.server.hostname,
            region=settings.cluster.region,
            state=self._node.health.state,
            address=dict(self._node.address),
            load=self._load(),
            started_at=self._started,
            seen_at=datetime.datetime.fromtimestamp(self._node.clock.time(), datetime.UTC),
            live=True,
        )
        try:
            return await self._store.beat(process, self._node.token, settings.cluster.lease_ttl)
        except PosthornError as error:
            if not error.temporary:
                raise
            self._node.log.warning("heartbeat failed", reason=error.public)
            return None
