"""Several processes of one service on one node, kept by one that serves nobody itself.

The keeper binds the addresses, once for each process of its crew, and the processes listen. So nobody else gets the
port; a process that dies leaves its waiting clients to the one that takes its place; and one that drains, or dies again
and again, leaves them to the others.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posthorn_model.errors import PosthornError
from posthorn_node.crew_vitals import KEEPER, Ask, CrewVitals
from posthorn_node.errors import StartError
from posthorn_node.http import HttpServer, server_on
from posthorn_node.inherited import VARIABLE, Inherited
from posthorn_node.listen import addresses_of, hang_up, open_sockets, shared_sockets
from posthorn_node.logs import Identity, open_log
from posthorn_node.metrics import Metrics
from posthorn_node.node import EXIT_SETTINGS, EXIT_START
from posthorn_node.settings import NodeSettings
from posthorn_node.supervise import STEADY_SECONDS, Child, Command, Supervisor
from posthorn_node.vitals import MAX_CONNECTIONS, shown_address

SPARE = 10.0
"""Seconds beyond what the node's own limits allow a process before it is killed."""
RETRY = 15.0
"""Seconds until a process is tried again that cannot start while others of its crew run."""


@dataclass(frozen=True, slots=True)
class CrewOrder:
    """What shall run: `argv` and `environ` are those of the keeper, with the node's token."""

    service: str
    settings: NodeSettings
    count: int
    protocols: Sequence[str]
    argv: Sequence[str]
    environ: Mapping[str, str]


class Crew:
    """One life of a crew."""

    def __init__(self, order: CrewOrder) -> None:
        self._order = order
        identity = Identity(order.service, str(order.settings.cluster.node_id), "")
        self._log = open_log(order.settings.log, identity).bind(process=KEEPER)
        self._metrics = Metrics(process=False)  # its own idleness would thin out the averages of who works
        wanted = self._metrics.gauge("processes_wanted", "Processes that a service of several shall have")
        wanted.set(order.count)
        told = "Times that a process of a service of several died and was started again"
        self._restarts = self._metrics.counter("process_restarts", told)
        self._supervisor = Supervisor(self._said, changed=self._changed)
        self._heirs: dict[str, Inherited] = {}
        self._ports: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self._retries: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Returns the exit code, as posthorn_node.run.run says."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, self._supervisor.send, signal.SIGHUP)
        vitals: HttpServer | None = None
        try:
            vitals = await self._open()
            for name in self._heirs:
                await self._supervisor.start(self._command(name))
            await self._ended.wait()
        except StartError as error:
            self._log.error("cannot start", reason=str(error))
            print(f"posthorn-{self._order.service}: {error}", file=sys.stderr)
            self._code = EXIT_START
        finally:
            self._ended.set()
            for task in self._retries:
                task.cancel()
            await self._supervisor.stop(*self._supervisor.children)
            if vitals is not None:
                await vitals.stop()
        self._log.info("stopped", code=self._code)
        return self._code

    async def _open(self) -> HttpServer | None:
        """Bind everything for everybody. Raises ListenError."""
        order = self._order
        metrics = order.settings.metrics
        server: HttpServer | None = None
        health = ""
        if metrics.enable:
            app = CrewVitals(order.service, self._metrics, self._asked_for, self._state)
            server = server_on(
                app, open_sockets(metrics.bind_for(order.service)), max_connections=MAX_CONNECTIONS, grace=1.0
            )
            await server.start()
            health = shown_address(*server.addresses[0])
            self._log.info("answering health checks", address=health)
        listeners = {
            each.name: shared_sockets(each.bind, order.count, reuse_port=each.reuse_port)
            for each in order.settings.listeners(*order.protocols)
        }
        for listener, sockets in listeners.items():
            self._log.info("bound", listener=listener, addresses=addresses_of(sockets[0]), processes=order.count)
        for number in range(order.count):
            name = f"process {number}"
            own = {listener: sockets[number] for listener, sockets in listeners.items()}
            vitals: socket.socket | None = None
            if metrics.enable:
                (vitals,) = open_sockets("127.0.0.1:0", backlog=None)
                ((_, self._ports[name]),) = addresses_of([vitals])
            self._heirs[name] = Inherited(number, order.count, own, vitals, health)
        return server

    def _command(self, name: str) -> Command:
        order, heir = self._order, self._heirs[name]
        return Command(
            name,
            tuple(order.argv),
            {**order.environ, VARIABLE: heir.written()},
            stop_limit=order.settings.server.end_limit + SPARE,
            hopeless=frozenset({EXIT_SETTINGS, EXIT_START}),
            leaves=True,
            pass_fds=heir.descriptors,
            own_output=True,
        )

    def _changed(self, child: Child) -> None:
        name, now = child.command.name, asyncio.get_running_loop().time()
        if child.state == "running":
            self._began[name] = now
            self._log.info("process started", name=name, pid=child.pid, restarts=child.restarts)
            return
        heir = self._heirs[name]
        if heir.vitals is not None:
            hang_up(heir.vitals)
        if child.state == "stopped" and not self._ended.is_set():
            self._log.info("process left, the others go on", name=name)
        if child.state == "waiting":
            self._restarts.inc()
            self._log.warning("process died, it is started again", name=name, code=child.exit_code)
        if child.state != "waiting" or (child.restarts and now - self._began[name] < STEADY_SECONDS):
            # Nobody may come soon for the clients that wait: from now on they go to the others.
            for own in heir.listeners.values():
                for each in own:
                    hang_up(each)
        if child.state in ("failed", "stopped"):
            self._lost(child)

    def _lost(self, child: Child) -> None:
        """A process is gone for good, or cannot start; the crew ends with its last one."""
        children = self._supervisor.children
        there = any(each.state in ("starting", "running", "waiting") for each in children.values())
        if there or len(children) < self._order.count:
            if child.state == "failed" and not self._ended.is_set():
                self._log.error("process cannot start", name=child.command.name, code=child.exit_code, again_in=RETRY)
                task = asyncio.get_running_loop().create_task(self._retry(child.command), name="retry")
                self._retries.add(task)
                task.add_done_callback(self._retries.discard)
            return
        if child.state == "failed":
            self._code = child.exit_code or EXIT_START
        self._ended.set()

    async def _retry(self, command: Command) -> None:
        await asyncio.sleep(RETRY)
        if not self._ended.is_set():
            await self._supervisor.start(command)

    def _asked(self, name: str) -> None:
        if self._ended.is_set():
            self._log.warning("hurrying", signal=name)
            self._supervisor.send(signal.SIGTERM)
        else:
            self._log.info("ending", reason=name)
            self._ended.set()

    def _asked_for(self) -> Ask:
        """Where to ask each process; one that was asked to leave is no more asked for."""
        children = self._supervisor.children
        return {
            str(heir.number): self._ports[name] if children[name].state == "running" else None
            for name, heir in self._heirs.items()
            if name in children and children[name].state != "stopped"
        }

    def _state(self) -> str:
        return "draining" if self._ended.is_set() else "ready"

    def _said(self, name: str, line: bytes) -> None:
        """What the supervisor itself has to say of a child; its output is not passed through here."""
        self._log.warning(line.decode("utf-8", "replace"), name=name)


async def run_crew(order: CrewOrder) -> int:
    """Keep a crew until a signal, until all of it has left, or until none of it can start; returns the exit code."""
    try:
        return await Crew(order).run()
    except PosthornError as error:
        print(f"posthorn-{order.service}: {error}", file=sys.stderr)
        return EXIT_START
    except OSError as error:
        print(f"posthorn-{order.service}: cannot start its processes: {os.strerror(error.errno or 0)}", file=sys.stderr)
        return EXIT_START
