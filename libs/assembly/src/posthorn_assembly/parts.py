"""The parts that every service stands on, opened in their order and closed in the reverse one.

A service's composition root calls `assemble` first and hands the parts on; what only one service needs is not here.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from posthorn_assembly.agreement import COORDINATOR, coordinator
from posthorn_assembly.bans import KnownBans, known_bans
from posthorn_assembly.certificates import StoredCertificates, stored_certificates
from posthorn_assembly.coordination import bus_settings
from posthorn_assembly.measures import measure_blobs, measure_databases, measure_lookups
from posthorn_assembly.notices import BANS, CERTIFICATES, INVALIDATE_DIRECTORY, ChangeWatch, NodeVoice, follow_notices
from posthorn_assembly.provider import Ask
from posthorn_assembly.translation import login_limits, near_shards, storage_settings
from posthorn_bus import BusIdentity, Echo, LeaseKeeper, LeaseTimes, open_bus
from posthorn_model.cluster import Standing
from posthorn_model.errors import PosthornError, Unavailable
from posthorn_model.events import Changed, Event, Topic
from posthorn_model.ids import NodeId
from posthorn_model.ports import Bus, Probe
from posthorn_node.membership import Membership
from posthorn_node.node import Node
from posthorn_node.worker import Life, Worker, worker
from posthorn_storage import Storage

LOOKUP_PROBE_SECONDS = 1.0
"""Less than a probe may take: without the lookup store a process is ready all the same."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Storage, bus, membership and leases of one process; the bus is started, the node has joined."""

    storage: Storage
    bus: Bus
    membership: Membership
    leases: LeaseKeeper
    echo: Echo
    """Answers the echo tests of others, and asks."""
    voice: NodeVoice
    worker: Worker
    """Which of the processes of its service on its node this one is."""

    @property
    def node_id(self) -> NodeId:
        """The id of the node that this process belongs to."""
        return self.membership.node_id

    async def close(self) -> None:
        """Give leases back, flush the bus while the node table still knows this process, leave, close the storage."""
        await self.leases.stop()
        self.voice.say("left")
        await self.bus.stop()
        self.worker.release()
        await self.membership.leave()
        await self.storage.close()


async def assemble(node: Node, *, duplicate_window: float = 300.0) -> Parts:
    """Open the storage (waiting for the database as long as it takes), join the cluster, start the bus.

    Adds the probes "database", "blobs", "lookup" and "bus" to the node's health. Raises DuplicateNode, SettingsError.
    """
    settings = storage_settings(node.settings, duplicate_window=duplicate_window)
    storage = await node.obtain("database", lambda: Storage.open(settings))
    node.health.add("database", storage.probe_database)
    node.health.add("blobs", storage.probe_blobs)
    node.health.add("lookup", _lookup_probe(storage))
    node.rereads(("auth.throttle", "auth.ban"), lambda: storage.limit_logins(login_limits(node.settings.auth)))
    if (oauth := node.settings.auth.oauth).used:
        from posthorn_assembly.tokens import Tokens  # megabytes that few servers need

        storage.directory.take_tokens(Tokens(oauth, Ask(timeout=oauth.timeout, ca=oauth.ca), node.clock))
    fixed = node.settings.cluster.node_id
    number = await _succeed(node, storage, fixed) if isinstance(fixed, int) else None
    membership = Membership(node, storage.nodes)
    await membership.join()
    number = number or await _succeed(node, storage, membership.node_id)
    near = near_shards(node.settings, storage.queue.shards)
    identity = BusIdentity(membership.node_id, node.service, node.boot, number.number, near)
    peers = storage.nodes.peer_directory(node.boot)
    spoken = bus_settings(node.settings)
    bus = open_bus(spoken, identity, peers, first=partial(_hear, storage))
    await bus.start()
    await storage.nodes.announce(node.boot, {COORDINATOR: coordinator(spoken)})
    node.health.add("bus", _probe_of(bus))
    storage.on_change = bus.publish
    _measure(node, bus)
    measure_databases(node.metrics, storage)
    measure_lookups(node.metrics, storage)
    measure_blobs(node.metrics, storage)
    leases = LeaseKeeper(storage.leases, node.boot, node.clock, LeaseTimes.of(node.settings.cluster.lease_ttl))
    await leases.start()
    certificates = stored_certificates(node, storage)
    await certificates.look()
    node.tasks.start("stored certificates", certificates.keep(), restart=False)
    bans = known_bans(node, storage)
    watches = _watches(storage, bus, certificates, bans, membership)
    await bans.look()
    node.tasks.start("banned networks", bans.keep(), restart=False)
    node.tasks.start("cluster notices", follow_notices(bus, storage, watches), restart=False)
    if storage.has_replicas:
        node.tasks.start("changes for replicas", _hear_for_ever(bus), restart=False)
    echo = Echo(bus, identity, node.clock)
    node.tasks.start("bus echo", echo.answer(), restart=False)
    voice = NodeVoice(bus, membership.node_id, node.service)
    node.draining = partial(voice.say, "draining")
    voice.say("joined")
    return Parts(storage, bus, membership, leases, echo, voice, number)


async def _succeed(node: Node, storage: Storage, node_id: int) -> Worker:
    """Take a number among the processes of this service on its node; what the dead one had who had it ends at once."""
    number = worker(node.settings.server.data, node_id, node.service)
    if number.former is not None:
        try:
            ended = await storage.nodes.bury(number.former.boot, number.former.token)
        except PosthornError as error:
            node.log.warning("leases of the former process run out by themselves", reason=error.public)
        else:
            if ended:
                node.log.info("ended the leases of the former process", former=number.former.boot, leases=ended)
    number.sign(Life(node.boot, node.token))
    return number


def _watches(
    storage: Storage, bus: Bus, certificates: StoredCertificates, bans: KnownBans, membership: Membership
) -> Sequence[ChangeWatch]:
    known, directory = membership.standing, storage.directory
    of_directory = ChangeWatch(INVALIDATE_DIRECTORY, bus, known.directory, directory.look_again, directory.forget)
    of_certificates = ChangeWatch(CERTIFICATES, bus, known.certificates, certificates.heard, certificates.heard)
    of_bans = ChangeWatch(BANS, bus, known.bans, bans.heard, bans.heard)
    storage.bans.told = of_bans.beaten

    def told(standing: Standing) -> None:
        of_directory.beaten(standing.directory)
        of_certificates.beaten(standing.certificates)
        of_bans.beaten(standing.bans)

    membership.told = told
    return of_directory, of_certificates, of_bans


def _hear(storage: Storage, event: Event) -> None:
    if isinstance(event, Changed):
        storage.heard(event)


async def _hear_for_ever(bus: Bus) -> None:
    """Changes are heard in this process although it may have no session that listens; `_hear` was told already."""
    async for _ in bus.subscribe(Topic.CHANGES):
        pass


def _probe_of(bus: Bus) -> Probe:
    """The bus is a hint (design law 1): a process without it is slower to hear, and still ready."""

    async def probe() -> str:
        health = bus.health()
        state = "" if health.connected else ", not connected"
        return f"{health.kind}{state}: {health.detail}"

    return probe


def _lookup_probe(storage: Storage) -> Probe:
    """Who asks the lookup store goes on without it: a process that cannot reach it is still ready, and says so."""

    async def probe() -> str:
        try:
            async with asyncio.timeout(LOOKUP_PROBE_SECONDS):
                return await storage.probe_lookup()
        except (Unavailable, TimeoutError) as error:
            return f"not used: {error.public if isinstance(error, Unavailable) else 'it does not answer'}"

    return probe


def _measure(node: Node, bus: Bus) -> None:
    """Metrics of the bus, read when they are scraped."""
    texts = {
        "connected": "Whether the coordinator is connected (1) or not (0)",
        "published": "Events published",
        "received": "Events received",
        "skipped": "Events of an unknown type or version that were skipped",
        "gaps": "Times that events may have been missed",
        "dropped": "Own events that were not sent",
        "lag_events": "Events that the coordinator holds and this process has not read",
        "lag_seconds": "Seconds since this process was up to date, or age of the oldest heartbeat of a peer",
    }
    for name, text in texts.items():
        gauge = node.metrics.gauge(f"bus_{name}", text)
        gauge.set_function(partial(_reading, bus, name))


def _reading(bus: Bus, name: str) -> float:
    return float(getattr(bus.health(), name))
