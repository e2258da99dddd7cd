"""Runs one service as a process: arguments, settings, log, health, then start, drain and stop in their order."""

import argparse
import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import uvloop
from structlog.typing import FilteringBoundLogger

from posthorn_model.clock import SystemClock
from posthorn_model.errors import PosthornError
from posthorn_model.ports import Clock
from posthorn_node.backoff import Backoff, until_available
from posthorn_node.errors import StartError
from posthorn_node.health import Health, ProbeResult
from posthorn_node.logs import Identity, open_log
from posthorn_node.metrics import Metrics
from posthorn_node.parent import PARENT_VARIABLE, die_with_parent
from posthorn_node.settings import (
    ListenerSettings,
    NodeSettings,
    Section,
    SettingsError,
    load,
    notices,
    shown,
    validate,
)
from posthorn_node.tasks import Tasks
from posthorn_node.tls import TlsContexts

T = TypeVar("T")
CONFIG_VARIABLE = "POSTHORN_CONFIG"
TOKEN_VARIABLE = "POSTHORN_NODE_TOKEN"  # noqa: S105 (the variable's name)
EXIT_CRASHED, EXIT_SETTINGS, EXIT_START = 1, 2, 3


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
    boot: str
    """Unique for one life of one process, hex."""
    token: str
    """Shared by all processes of one node."""
    identity: Identity
    address: dict[str, Any] = field(default_factory=dict)
    """Where this process can be reached, as the node table tells others: {"health": "host:port", "host": "machine"}."""
    leave: Callable[[str], None] = lambda _reason: None
    """Ask this process to drain and end, as a signal does; the reason is for the log. Asking again changes nothing."""
    draining: Callable[[], None] = lambda: None
    """Called when the process begins to drain. May not block or raise."""

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


def run(
    service: str,
    model: type[Section],
    build: Build,
    *,
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run a service until a signal or a crash ends it; returns the exit code.

    0: stopped as asked; 1: crashed; 2: the settings or the arguments are wrong; 3: it cannot start as set up (a port
    is taken, a certificate cannot be read, the node id is another node's). `argv` and `environ` default to the
    process's own.
    """
    environ = os.environ if environ is None else environ
    arguments = _arguments(service, argv)
    path = arguments.config or environ.get(CONFIG_VARIABLE, "")
    if not path:
        print(f"posthorn-{service}: say --config PATH or set {CONFIG_VARIABLE}", file=sys.stderr)
        return EXIT_SETTINGS
    try:
        found = validate(load(Path(path), environ), {"": NodeSettings, service: model})
    except SettingsError as error:
        print(f"posthorn-{service}: {len(error.problems)} problem(s) in the settings\n{error}", file=sys.stderr)
        return EXIT_SETTINGS
    settings, own = found[""], found[service]
    if arguments.check_config:
        print(shown(settings), *(f"{service}.{line}" for line in shown(own).splitlines()), sep="\n")
        return 0
    parent = environ.get(PARENT_VARIABLE, "")
    if parent.isdigit():
        die_with_parent(int(parent))
    # Imported late: what only reads settings need not load the HTTP server.
    from posthorn_node.life import Life

    node = new_node(service, settings, own, token=environ.get(TOKEN_VARIABLE, ""))
    for notice in notices(settings):
        node.log.warning(notice)
    life = Life(node, build)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(life.run())
        life.leave(code)
    return code


def new_node(service: str, settings: NodeSettings, own: Any, *, token: str = "") -> Node:
    """A node of this process's own: fresh boot id, open log, empty registry. Call it once a process."""
    boot = secrets.token_hex(8)
    identity = Identity(service, str(settings.cluster.node_id), boot)
    log = open_log(settings.log, identity)
    clock = SystemClock()

    def probed(name: str, result: ProbeResult) -> None:
        if result.ok:
            log.info("probe is fine again", part=name)
        else:
            log.warning("probe fails", part=name, reason=result.detail, detail=result.fields)

    return Node(
        service=service,
        settings=settings,
        own=own,
        log=log,
        metrics=Metrics(),
        tasks=Tasks(log),
        health=Health(clock, changed=probed),
        clock=clock,
        tls=TlsContexts(settings.server),
        boot=boot,
        token=token or secrets.token_hex(16),
        identity=identity,
        address={"host": socket.gethostname()},
    )


def _arguments(service: str, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"posthorn-{service}",
        description=f"The {service} service of a Posthorn node. Any setting can also be given in the environment, "
        "such as POSTHORN__CLUSTER__NODE_ID=3.",
    )
    parser.add_argument("--config", metavar="PATH", help=f"settings file in TOML (default: ${CONFIG_VARIABLE})")
    parser.add_argument("--check-config", action="store_true", help="check the settings, show them and exit")
    return parser.parse_args(argv)


__all__ = ["Build", "Node", "Service", "StartError", "new_node", "run"]
