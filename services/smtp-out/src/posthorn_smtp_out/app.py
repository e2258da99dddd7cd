"""The composition root of smtp-out: everything is built and handed in here, top to bottom."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import posthorn_assembly
from posthorn_bus import LeaseKeeper, LeaseTimes, Owner
from posthorn_delivery import make_scripts
from posthorn_model.errors import PosthornError
from posthorn_model.events import Control, Gap, QueueDue, Topic
from posthorn_model.ports import Bus
from posthorn_node.node import Node
from posthorn_node.settings.comparison import all_but
from posthorn_smtp_out.brakes import CHANGED as PAUSES_CHANGED
from posthorn_smtp_out.brakes import Brakes
from posthorn_smtp_out.figures import Figures
from posthorn_smtp_out.outcomes import Policy
from posthorn_smtp_out.pacing import Limits
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.pool import Pool
from posthorn_smtp_out.remoting import guard, limits, manners, promises, relays, sending_terms, sources
from posthorn_smtp_out.resolver import Resolver
from posthorn_smtp_out.routes import Destination, Router
from posthorn_smtp_out.settings import SmtpOutSettings
from posthorn_smtp_out.shard import Shards
from posthorn_smtp_out.sharing import Sharing
from posthorn_smtp_out.signing import Signer
from posthorn_smtp_out.spreading import Spreads
from posthorn_smtp_out.suppression import Suppressing
from posthorn_smtp_out.tls.greeting import Greeter, contexts
from posthorn_smtp_out.tls.guard import Note
from posthorn_smtp_out.tls.promises import Promises
from posthorn_smtp_out.tls.tally import SessionTally
from posthorn_smtp_out.warming import Warming
from posthorn_storage import Storage
from posthorn_storage.queue import Attempts

HAND_OVER_SECONDS = 20.0
"""How long the replies to whole messages are waited for when their shard is handed over; what is cut off then is in
doubt. Of a process that ends, server.drain-limit is the limit."""
DEPTH_SECONDS = 15.0
AT_START = (
    "processes",
    "port",
    "prefer",
    "connections-per-site",
    "messages-per-connection",
    "recipients-per-transaction",
    "sites",
    "spread",
    "spread-from",
    "connection-idle",
    "write-window",
    "mta-sts",
    "mta-sts-timeout",
)
"""Settings that hold for the life of the process; all others may change."""


async def build(node: Node) -> "SmtpOut":
    """Put the service together."""
    settings: SmtpOutSettings = node.own
    hostname = node.settings.server.hostname
    cluster = await posthorn_assembly.assemble(node)
    storage = cluster.storage
    await _go_by_the_clock_of(storage, node)
    resolver = Resolver(node.settings.resolver, ipv4_first=settings.prefer == "ipv4")
    tally = None
    if node.settings.reports.tls.enable:
        tally = SessionTally(storage.tls_reports, resolver)
        node.tasks.start("sessions for reports", tally.keep, restart=True)
    note, using = None if tally is None else tally.add, contexts()
    promised = promises(settings, storage.sts_policies, resolver, using.strict)
    if promised is not None:
        node.tasks.start("MTA-STS policies", promised.keep())
    figures = Figures(node.metrics)
    spreads = Spreads(storage.queue, figures, node.log)
    routing = partial(_router, node, resolver, promised, note)
    router = routing()
    router.spread = lambda site: spreads.of(site) > 1
    pooling = partial(_pool, node, router, limits(settings), Greeter(using, note))
    parts = Parts(
        settings=settings,
        hostname=hostname,
        storage=storage,
        attempts=Attempts(storage.queue, settings.write_window),
        router=router,
        sources=sources(settings, hostname),
        pool=pooling(shared=True),
        new_pool=pooling,
        signer=Signer(storage.dkim, node.clock.monotonic, node.log, figures),
        policy=Policy(settings.retry, settings.expire, settings.delay_notices),
        spreads=spreads,
        brakes=Brakes(storage.queue.pauses, router.destination, node.log),
        warming=Warming(storage.queue.warm_up, settings.sources, storage.clock.time, figures),
        suppressing=Suppressing(storage.queue.suppressions, settings.suppression, figures, node.log),
        clock=storage.clock,
        scripts=make_scripts(storage, hostname, storage.clock, node.log, seal=node.settings.arc.seal),
        log=node.log,
        figures=figures,
    )
    await node.obtain("the pauses of the queue", parts.brakes.read)
    shards = Shards(parts)

    spreads.tell = partial(_tell_due, shards, cluster.bus)
    ttl = node.settings.cluster.lease_ttl
    sharing = Sharing(storage.queue.shares, parts.pool, node.boot, ttl, figures=figures, log=node.log)
    # A keeper of our own: attempts under way need longer to end than other work does.
    times = LeaseTimes.of(ttl, patience=HAND_OVER_SECONDS)
    keeper = LeaseKeeper(storage.leases, node.boot, node.clock, times)
    keys = [f"queue/{number}" for number in range(storage.queue.shards)]
    owner = Owner(cluster.bus, keeper, cluster.node_id, Topic.QUEUE, keys, shards.run)
    node.rereads(all_but("smtp-out", SmtpOutSettings, *AT_START), partial(_take, node, parts, shards, routing))
    return SmtpOut(node, cluster, parts, keeper, owner, shards, sharing, tally)


async def _go_by_the_clock_of(storage: Storage, node: Node) -> None:
    """What is due and what has expired must be the same on every node, whatever its own clock says."""
    await node.obtain("the database's clock", storage.clock.measure)
    node.tasks.start("the database's clock", storage.clock.keep(node.log))
    node.metrics.gauge("clock_offset_seconds", "This machine's clock ahead of the database's").set_function(
        lambda: storage.clock.offset
    )


def _tell_due(shards: Shards, bus: Bus, shard: int) -> None:
    """Something has become due in a shard, of this process or of another one."""
    shards.wake(shard)
    bus.publish(QueueDue(shard))


def _router(node: Node, resolver: Resolver, promised: Promises | None, note: Note | None) -> Router:
    """By the settings of now. Raises SettingsError."""
    own: SmtpOutSettings = node.own
    return Router(
        resolver,
        hostname=node.settings.server.hostname,
        port=own.port,
        relay=own.relay,
        routes=own.routes,
        relays=relays(own),
        guard=guard(own, resolver, promised, note),
    )


def _pool(
    node: Node, router: Router, at_most: Callable[[Destination], Limits], greeter: Greeter, *, shared: bool = False
) -> Pool:
    """A new pool, by the settings of now."""
    own: SmtpOutSettings = node.own
    towards = manners(own, node.settings.server.hostname)
    clock = node.clock.monotonic
    return Pool(router, towards, at_most, greeter, schedule=own.retry, clock=clock, shared=shared)


def _take(node: Node, parts: Parts, shards: Shards, routing: Callable[[], Router]) -> None:
    """Go by the settings of now; attempts under way end as they began. Raises SettingsError."""
    own: SmtpOutSettings = node.own
    parts.router.become(routing())
    parts.pool.become(parts.new_pool())
    policy = Policy(own.retry, own.expire, own.delay_notices)
    warming = Warming(parts.storage.queue.warm_up, own.sources, parts.clock.time, parts.figures)
    shards.become(replace(parts, settings=own, sources=sources(own, parts.hostname), warming=warming, policy=policy))


@dataclass(slots=True)
class SmtpOut:
    """The running service."""

    node: Node
    cluster: posthorn_assembly.Parts
    parts: Parts
    keeper: LeaseKeeper
    owner: Owner
    shards: Shards
    sharing: Sharing
    tally: SessionTally | None

    async def start(self) -> None:
        """Take part in sharing out the queue; returns before any shard is owned."""
        await self.keeper.start()
        self.node.tasks.start("queue events", self._hear())
        self.node.tasks.start("queue pauses", self.parts.brakes.keep(self.shards.wake))
        self.node.tasks.start("pauses changed", self._hear_pauses())
        self.node.tasks.start("shared limits", self.sharing.keep())
        self.node.tasks.start("spread sites", self.parts.spreads.keep(self.parts.pool.dismiss))
        self.node.tasks.start("queue depth", self._measure())
        self.node.tasks.start("sending terms", self._tell_terms())
        await self.owner.start()

    async def drain(self) -> None:
        """Start nothing new, write what is under way, hand the shards over (flows.md G)."""
        self.owner.leave()
        await self.shards.drain()
        await self.owner.stop()
        await self.parts.pool.close()
        await self.sharing.close()

    async def stop(self) -> None:
        """Close the rest; leases that are left are given back."""
        await self.owner.stop()
        await self.parts.attempts.close()
        await self.keeper.stop()
        if self.tally is not None:
            await self.tally.close()
        await self.cluster.close()

    async def _hear(self) -> None:
        """Something became due: look at once, not at the next poll. A gap may have been such an event."""
        async for event in self.cluster.bus.subscribe(Topic.QUEUE):
            if isinstance(event, QueueDue):
                self.shards.wake(event.shard)
            elif isinstance(event, Gap):
                self.shards.wake()

    async def _hear_pauses(self) -> None:
        async for event in self.cluster.bus.subscribe(Topic.CONTROL):
            if isinstance(event, Gap) or (isinstance(event, Control) and event.name == PAUSES_CHANGED):
                self.parts.brakes.hurry()

    async def _tell_terms(self) -> None:
        """For those who ask why something is still in the queue: once, when the database takes it."""
        terms = sending_terms(self.node.own)
        await self.node.obtain("the terms of sending", lambda: self.parts.storage.queue.tell_terms(terms))

    async def _measure(self) -> None:
        while True:
            try:
                for state, count in (await self.parts.storage.queue.standings()).items():
                    self.parts.figures.depth.labels(state.name.lower()).set(count)
            except PosthornError as error:
                self.node.log.warning("queue depth not read", reason=error.public)
            await asyncio.sleep(DEPTH_SECONDS)
