"""What a process of a service has, and what a service must be: the two that hand things to each other."""

import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from posthorn_model.clock import SystemClock
from posthorn_model.errors import PosthornError
from posthorn_model.ports import Clock
from posthorn_node.backoff import Backoff, until_available
from posthorn_node.bans import Bans
from posthorn_node.health import Health, ProbeResult
from posthorn_node.inherited import Inherited
from posthorn_node.listen import BACKLOG, open_all
from posthorn_node.logs import Identity, LogLevel, open_log
from posthorn_node.metrics import Metrics
from posthorn_node.settings import ListenerSettings, NodeSettings
from posthorn_node.tasks import Tasks
from posthorn_node.tls import TlsContexts

T = TypeVar("T")
EXIT_CRASHED: Final = 1
EXIT_SETTINGS: Final = 2
EXIT_START: Final = 3
"""As `posthorn_node.run.run` says."""


class Service(Protocol):
    """What a service's composition root builds; the process calls the three in this order, each once."""

    async def start(self) -> None:
        """Listeners are open when it returns."""
        ...

    async def drain(self) -> None:
        """Stop accepting and finish what is held; cancelled when server.drain-limit is over or a signal hurries.

        Called when the process has been unready for server.drain-delay.
        """
        ...

    async def stop(self) -> None:
        """Close the rest; cancelled after server.stop-limit."""
        ...


@dataclass(slots=True)
class Node:
    """What a process has and hands to its parts."""

    service: str
    settings: NodeSettings
    own: Any
    """The service's own settings, of the model it named."""
    log: FilteringBoundLogger
    metrics: Metrics
    tasks: Tasks
    health: Health
    clock: Clock
    tls: TlsContexts
    bans: Bans
    boot: str
    """Unique for one life of one process, hex."""
    token: str
    """Shared by all processes of one node."""
    identity: Identity
    address: dict[str, Any] = field(default_factory=dict)
    """Where this process can be reached, as the node table tells others: {"health": "host:port", "host": "machine"}."""
    leave: Callable[[str], None] = lambda _reason: None
    """Ask this process to drain and end, as a signal does; the reason is for the log. Asking again changes nothing."""
    inherited: Inherited | None = None
    """What this process was handed, as one of several of its service."""
    readers: list[tuple[Sequence[str], Callable[[], None]]] = field(default_factory=list)
    """Who can go on with other settings, and under which keys."""
    draining: Callable[[], None] = lambda: None
    """Called when the process begins to drain. May not block or raise."""

    def rereads(self, keys: Sequence[str], take: Callable[[], None] = lambda: None) -> None:
        """Say that these keys (patterns of posthorn_node.settings.comparison) may change while the process runs.

        `take` is called when one of them has, with the new values in `settings` and `own`; it may raise SettingsError
        or StartError, and is called once more then, with the old ones.
        """
        self.readers.append((keys, take))

    def sockets(self, listener: ListenerSettings) -> list[socket.socket]:
        """The listening sockets of a listener: opened, or those that this process was handed. Raises ListenError."""
        if self.inherited is None:
            return open_all(listener.bind, reuse_port=listener.reuse_port)
        own = list(self.inherited.listeners[listener.name])
        for each in own:
            each.listen(BACKLOG)
        return own

    def listeners(self, *protocols: str) -> list[ListenerSettings]:
        """The listeners of the settings that speak one of these protocols."""
        return self.settings.listeners(*protocols)

    async def obtain(self, name: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call `attempt` until what it opens is available; meanwhile the log and /health/ready say what is awaited."""

        def refused(error: PosthornError, pause: float) -> None:
            self.health.waiting(name, f"waiting: {error.public}")
            told = {"part": name, "reason": error.public, "detail": error.fields, "again_in": round(pause, 1)}
            self.log.warning("not available yet", **told)

        found = await until_available(attempt, backoff=Backoff(0.2, 5.0), refused=refused)
        self.health.waiting(name, None)
        return found


Build = Callable[[Node], Awaitable[Service]]


def new_node(
    service: str, settings: NodeSettings, own: Any, *, token: str = "", inherited: Inherited | None = None
) -> Node:
    """A node of this process's own: fresh boot id, open log, empty registry. Call it once a process."""
    boot = secrets.token_hex(8)
    identity = Identity(service, str(settings.cluster.node_id), boot)
    level = LogLevel(settings.log.level)
    log = open_log(settings.log, identity, level=level)
    if inherited is not None:
        log = log.bind(process=inherited.number)
    clock = SystemClock()
    metrics = Metrics()
    kept_out = metrics.counter("banned_connections", "Connections of banned clients that were not let in")

    def probed(name: str, result: ProbeResult) -> None:
        if result.ok:
            log.info("probe is fine again", part=name)
        else:
            log.warning("probe fails", part=name, reason=result.detail, detail=result.fields)

    node = Node(
        service=service,
        settings=settings,
        own=own,
        log=log,
        metrics=metrics,
        tasks=Tasks(log),
        health=Health(clock, changed=probed),
        clock=clock,
        tls=TlsContexts(settings.server),
        bans=Bans(clock.monotonic, settings.auth.ban.allowed_networks, kept_out.inc),
        boot=boot,
        token=token or secrets.token_hex(16),
        identity=identity,
        address={"host": socket.gethostname()},
        inherited=inherited,
    )
    node.rereads(("log.level",), lambda: level.set(node.settings.log.level))
    node.rereads(("server.drain-delay", "server.drain-limit", "server.stop-limit"))  # asked for when they are needed
    node.rereads(("server.tls",), lambda: node.tls.take(node.settings.server))
    node.rereads(("auth.ban.allowed-networks",), lambda: node.bans.allow(node.settings.auth.ban.allowed_networks))
    return node
