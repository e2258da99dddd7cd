"""`posthorn up` as a story: hold the folder, start the parts, seed, start the services, watch, stop everything.

It owns the order of things. What each thing is, is said in the modules beside it. SIGUSR1 brings the running cluster to
the topology that lies in its folder by then (`posthorn topology apply`).
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from posthorn_ctl.cluster import asked, contract, keepsakes, layout, node_file, parts
from posthorn_ctl.cluster.change import Place, change
from posthorn_ctl.cluster.contract import Description, Running, State
from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import DataFolder, held, made
from posthorn_ctl.cluster.layout import Endpoint, Layout
from posthorn_ctl.cluster.log_stream import LogStream, file_name
from posthorn_ctl.cluster.node_file import Surroundings
from posthorn_ctl.cluster.options import EMBEDDED_KAFKA, PEER_TO_PEER, UpOptions
from posthorn_ctl.cluster.screen import Screen
from posthorn_ctl.cluster.service_command import service_command
from posthorn_ctl.cluster.vitals import Vital, ask
from posthorn_ctl.embedded import ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.kafka import KafkaServer
from posthorn_node.settings import NodeSettings
from posthorn_node.supervise import Child, Supervisor

A = TypeVar("A")
B = TypeVar("B")
HOPELESS_RESTARTS = 6
"""A process that died so often before it was ever ready has a reason that waiting does not remove."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CHANGE_SIGNAL = signal.SIGUSR1

Announce = Callable[[], None]
"""Called once, when cluster.json says that all is ready."""


async def up(options: UpOptions, environ: Mapping[str, str], screen: Screen, announce: Announce | None = None) -> None:
    """Run a cluster until a signal ends it. Raises ClusterError, PartError when it cannot be started."""
    folder = made(options.data)
    with held(folder):
        await LocalCluster(options, folder, environ, screen, announce or (lambda: None)).run()


class LocalCluster:
    """One life of the cluster of one data folder."""

    def __init__(
        self, options: UpOptions, folder: DataFolder, environ: Mapping[str, str], screen: Screen, announce: Announce
    ) -> None:
        self._options = options
        self._folder = folder
        self._environ = environ
        self._screen = screen
        self._announce = announce
        self._supervisor = Supervisor(LogStream(folder.logs, screen.log).take, changed=self._changed)
        self._stop = asyncio.Event()
        self._change = asyncio.Event()
        self._state: State = "starting"
        self._about: Description | None = None
        self._around: Surroundings | None = None
        self._kept = keepsakes.opened(folder)
        self._publishing: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(CHANGE_SIGNAL, self._change.set)
        try:
            if await self._until_stopped(self._start()):
                while await self._until_stopped(self._changed_topology()):
                    pass
        finally:
            await self._end()

    async def _start(self) -> None:
        options = self._options
        kept = self._kept
        wanted = asked.at_start(self._folder, options)
        plan = layout.laid_out(self._folder, wanted.nodes, options.ports)

        dsn, broker = await together(self._postgres(plan), self._kafka(plan))
        self._around = around = self._surroundings(kept, dsn, broker)
        settings = self._written(plan, around)
        self._about = replace(self._described(plan, around, settings), topology=wanted.document())
        self._publish()

        known = kept.is_seeded(dsn if self._options.postgres is not None else "embedded")
        shards = next(iter(settings.values())).cluster.queue_shards
        seeding = self._seeded(dsn, around, shards, kept)
        parts_start = together(seeding, self._started_kafka(broker))
        if known:
            await together(parts_start, self._start_services(plan.vitals()))
        else:  # nothing for the services to find yet: they would only wait and complain
            await parts_start
            await self._start_services(plan.vitals())
        await self._until_ready(plan.vitals())
        self._about = replace(self._about, accounts=dict(kept.accounts))
        self._become("ready")
        self._screen.step("ready")
        self._screen.table(plan, self._shown_parts(around))
        self._screen.welcome(kept.accounts, plan, self._folder.path)
        self._announce()

    async def _seeded(self, dsn: str, around: Surroundings, shards: int, kept: keepsakes.Keepsakes) -> None:
        # Imported now: it takes a second, during which the broker starts.
        from posthorn_ctl.cluster.seed import seed

        await seed(dsn, around.blobs, shards, kept)
        keepsakes.kept(self._folder, kept)
        self._screen.step("schema, domain and accounts are there")

    def _written(self, plan: Layout, around: Surroundings) -> Mapping[int, NodeSettings]:
        """Write the settings of all nodes and the tokens they need; returns each node's as its processes read them."""
        files = {node.number: node_file.written(self._folder, node, plan, around) for node in plan.nodes}
        for node in plan.nodes:
            self._kept.token(node.number)
        keepsakes.kept(self._folder, self._kept)
        # What they read differs in nothing that is asked here but the region.
        by_region = {node.region: files[node.number] for node in plan.nodes}
        judged = {region: node_file.judged(file, self._environ) for region, file in by_region.items()}
        return {node.number: judged[node.region] for node in plan.nodes}

    async def _start_services(self, places: Iterable[Place]) -> None:
        for number, service in places:
            config, token = node_file.path_of(self._folder, number), self._kept.token(number)
            await self._supervisor.start(service_command(_name(number, service), service, config, token, self._environ))

    async def _changed_topology(self) -> None:
        """Wait until a topology is asked for, and bring the cluster to it; one that cannot be had is told of."""
        await self._change.wait()
        self._change.clear()
        assert self._about is not None
        attempt = int(self._about.topology["attempt"]) + 1
        wanted = asked.Asked((), digest=asked.digest(self._folder))
        problem = ""
        try:
            wanted = asked.later(self._folder)
            await self._bring_to(wanted)
        except (ClusterError, OSError) as error:
            problem = str(error)
            self._screen.step(f"the topology stays as it was: {problem}")
        self._about = replace(self._about, topology=wanted.document(attempt, problem))
        self._publish()

    async def _bring_to(self, wanted: asked.Asked) -> None:
        """First start what is missing, then let go of what is too much. Raises ClusterError, and is as before then."""
        assert self._about is not None
        assert self._around is not None
        old = self._about.layout
        new = layout.laid_out(self._folder, wanted.nodes, self._options.ports, running=old)
        steps = change(old, new)
        settings = self._written(new, self._around)
        vitals = new.vitals()
        try:
            await self._start_services(steps.start)
            await self._until_ready({place: vitals[place] for place in steps.start})
        except BaseException:
            with contextlib.suppress(ClusterError):
                self._written(old, self._around)
            await self._supervisor.stop(*(_name(*place) for place in steps.start))
            raise
        for place in steps.again:
            await self._supervisor.stop(_name(*place))
            await self._start_services([place])
            await self._until_ready({place: vitals[place]})
        # Told before they go, so that nobody is sent to them.
        self._about = replace(self._described(new, self._around, settings), topology=self._about.topology)
        self._publish()
        await self._supervisor.stop(*(_name(*place) for place in steps.stop))
        self._screen.step(f"the topology is {wanted.name}: {len(new.nodes)} nodes")

    async def _postgres(self, plan: Layout) -> str:
        """The DSN of the database; the embedded server runs when this returns."""
        if self._options.postgres is not None:
            return self._options.postgres
        # The plan's port: one chosen apart from it could be one that the plan has promised to a service.
        port = plan.parts["postgres"]
        server = await parts.prepare_postgres(self._folder, self._options.postgres_programs, port)
        await parts.started(self._supervisor, parts.postgres_command(server), server)
        self._screen.step(f"PostgreSQL answers on {ports.LOOPBACK}:{server.port}")
        return server.dsn()

    async def _kafka(self, plan: Layout) -> KafkaServer | None:
        """The prepared broker; None when another bus is used, or Kafka cannot be had."""
        if self._options.bus != EMBEDDED_KAFKA:
            return None
        fixed = (plan.parts["kafka"], plan.parts["kafka-controller"])
        try:
            return await parts.prepare_kafka(self._folder, self._options.cache, fixed, self._fetched())
        except PartError as error:
            self._screen.step(f"{error}. Going on with the peer-to-peer bus instead of Kafka")
            return None

    def _fetched(self) -> Any:
        loop = asyncio.get_running_loop()

        def progress(done: int, total: int) -> None:
            loop.call_soon_threadsafe(self._screen.fetched, "fetching Apache Kafka", done, total)

        return progress

    async def _started_kafka(self, broker: KafkaServer | None) -> None:
        if broker is None:
            return
        await parts.started(self._supervisor, parts.kafka_command(broker), broker)
        self._screen.step(f"Kafka answers on {broker.servers}")

    def _surroundings(self, kept: keepsakes.Keepsakes, dsn: str, broker: KafkaServer | None) -> Surroundings:
        elsewhere = self._options.bus not in (EMBEDDED_KAFKA, PEER_TO_PEER)
        brokers = (self._options.bus,) if elsewhere else (broker.servers,) if broker is not None else ()
        return Surroundings(
            name=f"posthorn-{kept.suffix}" if elsewhere else "posthorn",
            secret=kept.cluster_secret,
            dsn=dsn,
            brokers=brokers,
            blobs=self._options.s3 or self._folder.blobs,
            overrides=self._options.overrides,
        )

    def _described(self, plan: Layout, around: Surroundings, settings: Mapping[int, NodeSettings]) -> Description:
        kind = "kafka" if around.brokers else PEER_TO_PEER
        place = str(around.blobs) if isinstance(around.blobs, Path) else around.blobs
        return Description(
            name=next(iter(settings.values())).cluster.name,
            regions={number: each.cluster.region for number, each in settings.items()},
            layout=plan,
            accounts=dict(self._kept.accounts),
            dsn=around.dsn,
            bus={"kind": kind, "servers": list(around.brokers)},
            blobs=contract.blobs_entry(place),
            sink={"host": ports.LOOPBACK, "port": plan.parts["sink"], "domain": node_file.SINK_DOMAIN},
        )

    def _shown_parts(self, around: Surroundings) -> list[tuple[str, str]]:
        database = around.dsn.rpartition("@")[2]
        blobs = str(around.blobs) if isinstance(around.blobs, Path) else around.blobs.endpoint
        bus = ("kafka", ", ".join(around.brokers)) if around.brokers else ("bus", PEER_TO_PEER)
        return [("postgresql", database), bus, ("blobs", blobs)]

    async def _until_ready(self, places: Mapping[Place, Endpoint]) -> None:
        """Wait until each process answers that it is ready. Raises ClusterError naming those that do not."""
        waiting = {_name(*place): endpoint for place, endpoint in places.items()}
        total = len(waiting)
        deadline = time.monotonic() + self._options.patience
        shown = 0
        while waiting:
            answers = await asyncio.gather(*(ask(place.host, place.port) for place in waiting.values()))
            vitals = dict(zip(list(waiting), answers, strict=True))
            self._refuse_hopeless(waiting)
            for name, vital in vitals.items():
                if vital.ready:
                    del waiting[name]
            if time.monotonic() > deadline and waiting:
                raise ClusterError(_not_ready(vitals, waiting, self._options.patience))
            if total - len(waiting) > shown:
                shown = total - len(waiting)
                self._screen.step(f"{shown} of {total} services are ready")
            await asyncio.sleep(0.1)

    def _refuse_hopeless(self, names: Iterable[str]) -> None:
        for name in names:
            child = self._supervisor.children[name]
            if child.state == "failed":
                raise ClusterError(f"{name} cannot run with these settings (exit code {child.exit_code}): see above")
            if child.restarts >= HOPELESS_RESTARTS:
                raise ClusterError(f"{name} has died {child.restarts} times: see above, or logs/{file_name(name)}")

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether `work` ended before somebody asked to stop; then it is cancelled. Raises what it raises."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return True
            return False
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    async def _end(self) -> None:
        """Services first, all at once; then the broker, then the database."""
        self._become("stopping")
        self._screen.step("stopping")
        services = [name for name in self._supervisor.children if "/" in name]
        await self._supervisor.stop(*services)
        await self._supervisor.stop_all()
        self._become("stopped")
        if self._publishing is not None:
            self._publishing.cancel()
            self._publish()
        self._screen.step("stopped")

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            self._supervisor.kill_all()
        self._stop.set()

    def _become(self, state: State) -> None:
        self._state = state
        self._publish()

    def _changed(self, _child: Child) -> None:
        """Many children change at the same time at a start: cluster.json is written once for all of them."""
        if self._publishing is None:
            self._publishing = asyncio.get_running_loop().call_later(0.05, self._publish)

    def _publish(self) -> None:
        self._publishing = None
        if self._about is not None:
            found = contract.document(self._about, self._state, os.getpid(), self._processes(), self._drained())
            contract.publish(self._folder, found)

    def _processes(self) -> list[Running]:
        children = self._supervisor.children.items()
        return [Running(*_place(name), child.pid) for name, child in children if child.pid is not None]

    def _drained(self) -> list[tuple[int, str]]:
        """What an operator asked to leave, and the layout still has."""
        if self._about is None or self._state in ("stopping", "stopped"):
            return []
        ended = {_place(name) for name, child in self._supervisor.children.items() if child.state == "stopped"}
        return sorted(ended.intersection(self._about.layout.vitals()))


def _name(number: int, service: str) -> str:
    return f"node{number}/{service}"


def _place(name: str) -> tuple[int, str]:
    """The node and the service of a child; node 0 has what belongs to none."""
    node, slash, service = name.removeprefix("node").partition("/")
    return (int(node), service) if slash else (0, name)


async def together(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Run both at the same time; when one fails the other is cancelled and the failure raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = group.create_task(first), group.create_task(second)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return tasks[0].result(), tasks[1].result()


def _not_ready(vitals: Mapping[str, Vital], waiting: Mapping[str, Any], patience: float) -> str:
    lines = [f"  {name}: {vital.reason}" for name, vital in vitals.items() if name in waiting]
    return "\n".join([f"not ready after {patience:.0f} s (see the log above):", *lines])
